/** What a page and its worker say to each other; plain data. Does nothing. */

import type { DrawRequest, Edit, ModelInfo } from "../client.ts";

/** Where a model's two files are: addresses to fetch, or their bytes. */
export interface WebFiles {
  readonly var: string | Uint8Array;
  readonly vqvae: string | Uint8Array;
}

/** Where a model may run; "auto" is WebGPU where that works and pays, else WebAssembly. */
export type BackendChoice = "auto" | "wasm" | "webgpu";

/** Why it runs there. */
export type Reason =
  | "asked"
  | "faster"
  | "no-webgpu"
  | "no-adapter"
  | "software"
  | "small"
  | "slower"
  | "wrong"
  | "failed";

/** Where a model runs. */
export interface RunsOn {
  readonly backend: "wasm" | "webgpu";
  /** Of WebAssembly; more than one only in pages that are cross-origin isolated. */
  readonly threads: number;
  readonly reason: Reason;
  /** The reason as a sentence's end. */
  readonly why: string;
}

export interface OpenCall {
  readonly name: string;
  readonly files: WebFiles;
  readonly threads: number;
  readonly backend: BackendChoice;
}

/** The model runs somewhere else from now on, and what was under way begins again. */
export interface MovedEvent {
  readonly kind: "moved";
  readonly on: RunsOn;
}

/** While the files come. */
export interface LoadingEvent {
  readonly kind: "loading";
  /** Bytes that are here. */
  readonly bytes: number;
  /** Of how many; undefined where the server does not say. */
  readonly of: number | undefined;
}

/** One picture of a request after one scale. */
export interface WebScale {
  readonly kind: "scale";
  /** Which picture of the request, from 0. */
  readonly place: number;
  /** k of K, from 0; an extension counts the scales of all its windows, and may leave some out. */
  readonly scale: number;
  readonly of: number;
  /** Of this scale's token map. */
  readonly shape: readonly [height: number, width: number];
  /** Tokens of this scale, row by row; empty while a picture of another size than the model's is edited. */
  readonly ids: Int32Array;
  /** Entropy of each token over the largest possible, 0 to 1. Empty where nothing was drawn. */
  readonly doubt: Float32Array;
  readonly png: Uint8Array;
}

/** A finished picture; its PNG tells what it was drawn with. */
export interface WebPicture {
  readonly kind: "picture";
  readonly place: number;
  /** Number within the seed. */
  readonly index: number;
  readonly seed: number;
  readonly label: string;
  readonly width: number;
  readonly height: number;
  readonly png: Uint8Array;
  /** How it was changed, where it was. */
  readonly edit?: Edit;
}

export type DrawEvent = WebScale | WebPicture;

/** What one scale of the tokenizer tells of a picture. */
export interface UnfoldedScale {
  readonly scale: number;
  readonly of: number;
  /** Of this scale's token map. */
  readonly shape: readonly [height: number, width: number];
  /** Tokens, row by row. */
  readonly ids: Int32Array;
  /** Of the feature map. */
  readonly latent: readonly [height: number, width: number];
  /** Length of what is still missing at each place of the feature map after this scale, row by row. */
  readonly missing: Float32Array;
  /** What was missing before the first scale, all places together (root of the sum of squares), and is after this one. */
  readonly lengths: readonly [whole: number, left: number];
  /** The picture that the scales so far give. */
  readonly png: Uint8Array;
}

/** Calls of a worker by name: what each takes, and what it tells. */
export interface Calls {
  readonly open: [
    OpenCall,
    LoadingEvent | { readonly kind: "ready"; readonly info: ModelInfo; readonly on: RunsOn },
  ];
  readonly draw: [DrawRequest, DrawEvent | MovedEvent];
  readonly unfold: [Uint8Array, UnfoldedScale | MovedEvent];
}
export type CallName = keyof Calls;

export type ToWorker =
  | { readonly id: number; readonly call: CallName; readonly argument: unknown }
  /** Stops a call between scales, or takes it out of the row. */
  | { readonly id: number; readonly call: "stop" };

export type FromWorker =
  | { readonly id: number; readonly kind: "event"; readonly event: unknown }
  | { readonly id: number; readonly kind: "end" }
  /** `input`: what was asked for is at fault. */
  | {
      readonly id: number;
      readonly kind: "failed";
      readonly message: string;
      readonly input: boolean;
    };
