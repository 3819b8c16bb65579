/** What the server and its drawing thread say to each other; plain data, as threads can copy it. Does nothing. */

import type { Drawing } from "../image/drawing.ts";
import type { Mask } from "../image/edit/mask.ts";
import type { VarInfo } from "../image/model.ts";
import type { Branch } from "../image/orders.ts";
import type { Precision } from "../image/precision.ts";
import type { PatchNum } from "../image/scales.ts";
import type { Picture } from "../image/sheet.ts";
import type { JobEdit } from "./job.ts";

/** A model as the server knows it. */
export interface ServedModel {
  readonly name: string;
  readonly labels: readonly string[];
  readonly patchNums: readonly PatchNum[];
  readonly drawing: Drawing;
  readonly info: VarInfo;
  readonly precision: Precision;
}

/** Where a model lies. */
export interface ModelFiles {
  readonly name: string;
  readonly files: { readonly var: string; readonly vqvae: string };
}

/** What is done, and the pictures to start from. */
export interface EditSource extends JobEdit {
  readonly picture: Picture;
  readonly mask?: Mask;
  /** The end of the way, where there is one. */
  readonly other?: Picture;
  /** How far along the way this one is, 0 to 1. */
  readonly part?: number;
}

/** One picture to draw. */
export interface Wish {
  /** Class number; the number of classes means none. */
  readonly label: number;
  readonly seed: number;
  readonly index: number;
  readonly drawing: Drawing;
  readonly branches: readonly Branch[];
  /** Every scale is to be told, not only the last. */
  readonly scales: boolean;
  readonly edit?: EditSource;
  /** Written into the picture's file. */
  readonly note: string;
}

/** Threads that start tell their models; then batches, one at a time. */
export type ToDrawer =
  | { readonly kind: "draw"; readonly model: string; readonly wishes: readonly Wish[] }
  /** Stops between scales. */
  | { readonly kind: "stop" };

/** One picture after one scale. */
export interface Drawn {
  /** Place of the wish in its batch. */
  readonly wish: number;
  readonly png: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Tokens of this scale, row by row. */
  readonly ids: Int32Array;
  /** How undecided the model was about each token: entropy over log V, 0 to 1. Empty where nothing was drawn. */
  readonly doubt: Float32Array;
}

export type FromDrawer =
  | { readonly kind: "ready"; readonly models: readonly ServedModel[] }
  | {
      readonly kind: "scale";
      readonly scale: number;
      readonly of: number;
      /** Of the token map. */
      readonly shape: readonly [height: number, width: number];
      readonly drawn: readonly Drawn[];
    }
  | { readonly kind: "done" }
  | { readonly kind: "stopped" }
  /** `input`: what was asked for is at fault. */
  | { readonly kind: "failed"; readonly message: string; readonly input: boolean };
