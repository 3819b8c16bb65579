/** Loads a transformer alone, for training that starts from it. Whole models are loaded by image/node.ts. */

import { readTensorFile } from "../formats/node.ts";
import { loadTransformer } from "../image/model.ts";
import type { Ancestor } from "../train/fine-tune.ts";
import { hashFiles } from "./package.ts";

export interface LoadedAncestor extends Ancestor {
  readonly file: string;
  /** First 16 hex digits of SHA-256 of the file. */
  readonly hash: string;
}

/** Any checkpoint of a VAR: ours, an official one, one of the official trainer. @throws InputError when it is none */
export async function loadAncestor(file: string): Promise<LoadedAncestor> {
  const transformer = await loadTransformer({ ...(await readTensorFile(file)), what: file });
  return { ...transformer, file, hash: await hashFiles(file) };
}
