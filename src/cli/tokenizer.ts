/** Loads a tokenizer alone, for training a transformer on its tokens. Whole models are loaded by image/node.ts. */

import type { TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { readTensorFile } from "../formats/node.ts";
import { dequantizeWeights } from "../formats/quantize.ts";
import type { VqvaeConfig } from "../image/config.ts";
import { inferVqvaeConfig, modelKind } from "../image/infer-config.ts";
import { noteConfig, readNote } from "../image/note.ts";
import { checkVqvaeWeights } from "../image/vqvae-layout.ts";
import { hashFiles } from "./package.ts";

export interface Tokenizer {
  readonly file: string;
  /** First 16 hex digits of SHA-256 of the file. */
  readonly hash: string;
  readonly config: VqvaeConfig;
  readonly weights: TensorMap;
}

/** @throws InputError when the file is no tokenizer, or a tensor is missing, unknown or of another shape */
export async function loadTokenizer(file: string): Promise<Tokenizer> {
  const { tensors: stored, metadata } = await readTensorFile(file);
  const tensors = dequantizeWeights(stored);
  const kind = modelKind(tensors.keys());
  if (kind !== "vqvae")
    throw new InputError(
      `${file} holds ${kind === "var" ? "a transformer" : "no model known here"}, wanted a tokenizer; see: underpaint info ${file}`,
      { file, kind },
    );
  const note = readNote(metadata, { kind, what: file });
  const config = note
    ? noteConfig(note, { kind: "vqvae", what: file })
    : inferVqvaeConfig(tensors, { what: file });
  const weights = checkVqvaeWeights(config, tensors, { what: file });
  return { file, hash: await hashFiles(file), config, weights };
}
