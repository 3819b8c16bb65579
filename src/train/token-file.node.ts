/** Tokens of a data set on disk, made where they are not there yet: making them takes minutes. Encodes nothing itself. */

import type { ImageDataset } from "../data/types.ts";
import { node } from "../formats/builtins.node.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import type { VqvaeConfig } from "../image/config.ts";
import type { Backend } from "../tensor/backend.ts";
import { type TokenizeOptions, type TokenizeProgress, type TokenSet, tokenize } from "./tokens.ts";

/** A tokenizer that is told from others by the hash of its file. */
export interface HashedTokenizer {
  readonly config: VqvaeConfig;
  readonly weights: TensorMap;
  readonly hash: string;
}

/**
 * `tokenize`, with its result kept in `file`: read at once where it was made of the same pictures, by the same
 * tokenizer, with the same options. Anything odd about the file means making the tokens again.
 */
export async function* tokensIn(
  file: string,
  set: ImageDataset,
  options: TokenizeOptions & { tokenizer: HashedTokenizer; backend: Backend },
): AsyncGenerator<TokenizeProgress> {
  const { tokenizer, backend, seed = 0, variants = 1, augment = {}, mistakes = 0 } = options;
  const pictures = Array.from({ length: set.count }, (_, i) => set.id(i));
  const recipe = { tokenizer: tokenizer.hash, seed, variants, augment, mistakes };
  const key = JSON.stringify({ ...recipe, pictures });
  const of = variants * set.count;
  const old = await readTokens(file, key);
  if (old) return yield { done: of, of, tokens: old };
  for await (const progress of tokenize(set, { ...tokenizer, backend }, options)) {
    const { tokens } = progress;
    if (tokens) {
      const shape = [tokens.variants, tokens.count, tokens.length];
      const { ids, read } = tokens;
      const whole = Object.entries(mistakes > 0 ? { ids, read } : { ids });
      const tensor = (data: Int32Array): Tensor => ({ dtype: "int32", shape, data });
      const tensors = new Map(whole.map(([of, data]) => [of, tensor(data)]));
      await writeFileAtomic(file, writeSafetensors(tensors, { metadata: { key } }));
    }
    yield progress;
  }
}

async function readTokens(file: string, key: string): Promise<TokenSet | undefined> {
  if (!(await node.fs.stat(file).catch(() => undefined))) return undefined;
  try {
    const { tensors, metadata } = readSafetensors(await node.fs.readFile(file));
    const ids = tensors.get("ids");
    const read = tensors.get("read") ?? ids;
    if (metadata.key !== key || ids?.shape.length !== 3) return undefined;
    if (!(ids.data instanceof Int32Array && read?.data instanceof Int32Array)) return undefined;
    if (read.data.length !== ids.data.length) return undefined;
    const [variants, count, length] = ids.shape as [number, number, number];
    return { variants, count, length, ids: ids.data, read: read.data };
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}
