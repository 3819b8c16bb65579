/** Where training starts from another model's weights: what fits is taken, what changed its shape is carried over. Trains nothing. */

import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { VarConfig } from "../image/config.ts";
import {
  mapShape,
  mapText,
  mapTokens,
  type PatchNum,
  scaleStarts,
  scalesText,
} from "../image/scales.ts";
import { varSpecs } from "../image/var-layout.ts";

/** A transformer to begin with. */
export interface Ancestor {
  readonly config: VarConfig;
  readonly weights: TensorMap;
  /** Names of its classes, where its file tells them. */
  readonly labels?: readonly string[];
}

export interface Descent {
  readonly weights: TensorMap;
  /** What was not simply taken, a sentence each. */
  readonly remarks: readonly string[];
}

interface Carry {
  readonly from: Ancestor;
  readonly to: VarConfig;
  readonly labels: readonly string[];
  /** Fresh weights of the new shape: filled in place where something can be carried over. */
  readonly fresh: Tensor;
}

/** How a tensor whose shape follows from scales or classes is carried over where they differ. */
interface Carrier {
  differ(carry: Omit<Carry, "fresh">): boolean;
  /** @returns what it did */
  carry(old: Tensor, carry: Carry): string;
}
const otherSides: Carrier["differ"] = ({ from, to }) =>
  scalesText(from.config.patchNums) !== scalesText(to.patchNums);
const CARRIERS: Readonly<Record<string, Carrier>> = {
  pos_1LC: { differ: otherSides, carry: carryPositions },
  "lvl_embed.weight": { differ: otherSides, carry: carryLevels },
  "class_emb.weight": {
    differ: ({ from, to, labels }) =>
      from.config.classes !== to.classes || !sameNames(from.labels, labels),
    carry: carryClasses,
  },
};

/**
 * Starting weights for `to`: every tensor of the same name and shape is taken from the ancestor; positions are
 * resized scale by scale, levels come from the scale of the nearest size, classes go by name; the rest starts fresh.
 * @param fresh weights of `to` as they would start without an ancestor; copied
 * @throws InputError when the widths differ, since then nothing would be left
 */
export function descend(
  to: VarConfig,
  fresh: TensorMap,
  { from, labels }: { from: Ancestor; labels: readonly string[] },
): Descent {
  if (from.config.width !== to.width)
    throw new InputError(
      `the model to start from is ${from.config.width} channels wide, wanted ${to.width}; leave out --width and --depth, or train from scratch`,
      { found: from.config.width, wanted: to.width },
    );
  const weights = new Map(fresh);
  const [remarks, anew]: [string[], string[]] = [[], []];
  for (const { name, shape, kind } of varSpecs(to)) {
    if (kind === "buffer") continue;
    const old = from.weights.get(name);
    const carrier = CARRIERS[name];
    if (old && carrier?.differ({ from, to, labels })) {
      const own = fresh.get(name)!;
      const copy = { ...own, data: Float32Array.from(own.data as Float32Array) };
      remarks.push(`${name}: ${carrier.carry(old, { from, to, labels, fresh: copy })}`);
      weights.set(name, copy);
    } else if (old && sameShape(old.shape, shape)) weights.set(name, old);
    else anew.push(name);
  }
  if (anew.length > 0) remarks.push(`${anew.length} tensors start anew: ${shortened(anew)}`);
  return { weights, remarks };
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);
/** Names that are unknown are taken to be the same. */
const sameNames = (a: readonly string[] | undefined, b: readonly string[]): boolean =>
  a === undefined || (a.length === b.length && a.every((name, i) => name === b[i]));
/** Names of tensors, those of blocks told together. */
function shortened(names: readonly string[]): string {
  const groups = [...new Set(names.map((name) => name.replace(/^(blocks\.\d+)\..*/, "$1")))];
  return groups.length > 6 ? `${groups.slice(0, 6).join(", ")}, ...` : groups.join(", ");
}

/** The map of `patchNums` that is nearest to `pn` in the ratio of tokens. */
function nearestScale(patchNums: readonly PatchNum[], pn: PatchNum): number {
  const gaps = patchNums.map((own) => Math.abs(Math.log(mapTokens(own) / mapTokens(pn))));
  return gaps.indexOf(Math.min(...gaps));
}

/** Each new scale's positions from the old scale of the nearest size, resized bilinearly with corners aligned. 1 L C */
function carryPositions(old: Tensor, { from, to, fresh }: Carry): string {
  const [before, after] = [from.config.patchNums, to.patchNums];
  const [starts, ends] = [scaleStarts(before), scaleStarts(after)];
  const source = old.data as Float32Array;
  const target = fresh.data as Float32Array;
  const resized: string[] = [];
  for (const [k, pn] of after.entries()) {
    const j = nearestScale(before, pn);
    const own = before[j]!;
    if (mapText(own) !== mapText(pn)) resized.push(`${mapText(pn)} from ${mapText(own)}`);
    resizeGrid(source.subarray(starts[j]! * to.width, starts[j + 1]! * to.width), {
      ...{ from: mapShape(own), to: mapShape(pn), channels: to.width },
      out: target.subarray(ends[k]! * to.width, ends[k + 1]! * to.width),
    });
  }
  return resized.length > 0
    ? `positions resized, ${resized.join(", ")}`
    : "positions kept by scale";
}

interface Regrid {
  readonly from: readonly [height: number, width: number];
  readonly to: readonly [height: number, width: number];
  readonly channels: number;
  /** H W C */
  readonly out: Float32Array;
}

/** Bilinearly, corners on corners. source h w C */
function resizeGrid(
  source: Float32Array,
  { from: [h, w], to: [H, W], channels, out }: Regrid,
): void {
  const place = (i: number, from: number, to: number) =>
    to === 1 ? (from - 1) / 2 : (i * (from - 1)) / (to - 1);
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++) {
      const [fy, fx] = [place(y, h, H), place(x, w, W)];
      const [y0, x0] = [Math.floor(fy), Math.floor(fx)];
      const [y1, x1] = [Math.min(h - 1, y0 + 1), Math.min(w - 1, x0 + 1)];
      const [wy, wx] = [fy - y0, fx - x0];
      for (let c = 0; c < channels; c++) {
        const at = (row: number, column: number) => source[(row * w + column) * channels + c]!;
        const top = at(y0, x0) * (1 - wx) + at(y0, x1) * wx;
        const bottom = at(y1, x0) * (1 - wx) + at(y1, x1) * wx;
        out[(y * W + x) * channels + c] = top * (1 - wy) + bottom * wy;
      }
    }
}

/** K C */
function carryLevels(old: Tensor, { from, to, fresh }: Carry): string {
  for (const [k, pn] of to.patchNums.entries()) {
    const j = nearestScale(from.config.patchNums, pn);
    const row = (old.data as Float32Array).subarray(j * to.width, (j + 1) * to.width);
    (fresh.data as Float32Array).set(row, k * to.width);
  }
  return `${to.patchNums.length} levels from those of the nearest size`;
}

/** Classes of the same name are kept, and "no class", the last row, always. classes + 1, C */
function carryClasses(old: Tensor, { from, to, labels, fresh }: Carry): string {
  const C = to.width;
  const copy = (row: number, into: number) =>
    (fresh.data as Float32Array).set(
      (old.data as Float32Array).subarray(row * C, (row + 1) * C),
      into * C,
    );
  copy(from.config.classes, to.classes);
  const kept = labels.filter((label, i) => {
    const row = from.labels?.indexOf(label) ?? -1;
    if (row >= 0) copy(row, i);
    return row >= 0;
  });
  const rest = kept.length < to.classes ? ", the others start anew" : "";
  return `${kept.length} of ${to.classes} classes kept by name${rest}`;
}
