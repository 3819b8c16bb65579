/** What both sides of the VAR benchmark are asked, and what they answer. Runs nothing. */

import type { LoadOptions } from "../src/image/model.ts";
import { mapText, type PatchNum } from "../src/image/scales.ts";

/** One way of running our side. `load` goes to `loadVarFrom`. */
export interface Precision {
  readonly load: LoadOptions;
  /**
   * What is promised: this many times as fast as PyTorch, within this share of its peak memory; where `image` is
   * given, the same tokens for the likeliest code everywhere, and pixels in [0, 1] that differ by no more.
   */
  readonly target: { readonly faster: number; readonly memory: number; readonly image?: number };
}

/** By the name that `--precision` takes. A quantized way is one more line here. */
export const PRECISIONS: Readonly<Record<string, Precision>> = {
  fp32: { load: {}, target: { faster: 1.25, memory: 1, image: 2e-5 } },
  int8: { load: { precision: "int8" }, target: { faster: 2.2, memory: 0.5 } },
};

/** Threads of either side. */
export const THREADS = 2;

/** What is written for both sides to read. */
export interface Job {
  readonly var: string;
  readonly vqvae: string;
  /** A file with the uniform numbers, B L, that our sampler draws from `seed`. */
  readonly uniforms: string;
  readonly patchNums: readonly PatchNum[];
  /** Of models that do not tell them. */
  readonly heads?: number;
  readonly threads: number;
  readonly seed: number;
  readonly load: LoadOptions;
}

/** One batch of pictures, one for each class. */
export interface DrawQuestion {
  readonly do: "draw";
  readonly classes: readonly number[];
  readonly guidance: number;
  readonly topK: number;
  readonly topP: number;
  /** PyTorch's side: modulation once per batch, or at each scale as the released code does. */
  readonly ada: "once" | "each";
  /** A safetensors file for the pictures. */
  readonly out?: string;
  /** PyTorch's side: what lies between goes into that file as well. */
  readonly trace?: boolean;
}

/** Our side: how near to a tie the draw of one token was. */
export interface WhyQuestion extends Pick<DrawQuestion, "classes" | "guidance" | "topK" | "topP"> {
  readonly do: "why";
  readonly picture: number;
  readonly scale: number;
  readonly token: number;
  /** What was drawn here and there. */
  readonly ours: number;
  readonly theirs: number;
}

export interface WhyAnswer {
  /** Distance from the uniform number to the next bound between two codes, in probability. */
  readonly margin: number;
  /** Codes that the filters left. */
  readonly left: number;
  /** The two codes stand beside each other there: the bound between them decided. */
  readonly areNeighbours: boolean;
}

export interface DrawAnswer {
  /** From the classes to pictures in [0, 1]. */
  readonly ms: number;
  /** By stage; see `stagesOf`. */
  readonly stages: Readonly<Record<string, number>>;
  /** B L */
  readonly ids: readonly (readonly number[])[];
}

/** The stages of a picture in their order, with what they are for people. */
export const stagesOf = (patchNums: readonly PatchNum[]): [name: string, title: string][] => [
  ["class", "class conditioning"],
  ...patchNums.map((pn, k): [string, string] => [
    `scale ${k + 1}`,
    `transformer, scale ${k + 1} (${mapText(pn)})`,
  ]),
  ["choice", "choice of codes: guidance, top-k, top-p, draw"],
  ["next", "codes to the next scale's input"],
  ["decoder", "decoder"],
];
