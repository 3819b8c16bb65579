/** Token maps as pages show them: their shapes, and how a shape reads. Holds no tokens. */

import { mapShape, type PatchNum } from "../../../src/image/scales.ts";

export type MapShape = readonly [height: number, width: number];

export const shapesOf = (patchNums: readonly PatchNum[]): MapShape[] => patchNums.map(mapShape);

/** "6 × 4": width first, as sizes of pictures. */
export const across = ([h, w]: MapShape): string => `${w} × ${h}`;

/** "4" for a square, where there is little room. */
export const briefly = ([h, w]: MapShape): string => (h === w ? `${w}` : `${w}×${h}`);
