/** How well a study's tokenizers rebuild pictures: rFID, KID and PSNR, measured once and kept. */

import { node } from "../../formats/builtins.node.ts";
import { pixelCount } from "../../formats/picture-size.ts";
import { imageSize, scalesText } from "../../image/scales.ts";
import type { HashedTokenizer } from "../../train/token-file.node.ts";
import type { Pictures } from "../nearest.ts";
import { psnrOf, throughTokenizer } from "../through.ts";
import { readKept, writeKept } from "./kept.node.ts";
import type { Judge, Step } from "./rows.node.ts";
import type { Study } from "./runs.node.ts";

/** Reconstructions by a tokenizer. */
export interface Rebuilt {
  readonly name: string;
  readonly maps: string;
  readonly fid: number;
  readonly kid: number;
  /** dB, on the test split. */
  readonly psnr: number;
}

/** Pictures that go through the tokenizer between two steps. */
const PART = 1024;

/**
 * The training pictures through the tokenizer, judged like samples against those pictures themselves; PSNR of the test
 * split. @throws the signal's reason when stopped
 */
export async function* measureTokenizer(
  study: Study,
  tokenizer: HashedTokenizer,
  judge: Judge,
): AsyncGenerator<Step, Rebuilt> {
  const { folder, data, train, test, backend, signal } = study;
  const { config, hash } = tokenizer;
  const recipe = { tokenizer: hash, data, test: test.count, judge: judge.recipe };
  const file = node.path.join(folder, `measured-tokenizer-${hash}.json`);
  const kept = await readKept<Rebuilt>(file, recipe);
  if (kept) return kept;
  const size = imageSize(config);
  const bytes = pixelCount(size) * 3;
  const pixels = new Uint8Array(train.count * bytes);
  for (let at = 0; at < train.count; at += PART) {
    const count = Math.min(PART, train.count - at);
    const part = {
      count,
      ...size,
      pixels: train.pixels.subarray(at * bytes, (at + count) * bytes),
    };
    const { rebuilt } = await throughTokenizer(part, tokenizer, { backend, signal });
    pixels.set(rebuilt.pixels, at * bytes);
    yield { doing: "rebuilding", done: at + count, of: train.count };
  }
  const rebuilt: Pictures = { count: train.count, ...size, pixels };
  const { fid, kid } = yield* judge.judge(rebuilt, signal);
  const psnr = psnrOf(await throughTokenizer(test, tokenizer, { backend, signal }));
  const measured = { name: hash, maps: scalesText(config.patchNums), fid, kid, psnr };
  await writeKept(file, { recipe, measured });
  return measured;
}
