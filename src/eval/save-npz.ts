/** Pictures as one .npz that the official evaluator reads: arr_0, uint8 N H W 3, uncompressed. */

import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { npzPieces } from "../formats/npz.ts";
import { sameSize, sizeText } from "../formats/picture-size.ts";
import type { PictureSource } from "./sources.ts";

/**
 * Writes all pictures of a source, yielding how many are done; however many there are, few are in memory.
 * @throws InputError when they are not all of one size
 */
export async function* savePictures(
  source: PictureSource,
  file: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<number> {
  const pictures = source.pictures({ signal });
  const first = await pictures.next();
  if (first.done) throw new InputError(`${source.what} has no pictures to save`);
  const { width, height } = first.value;
  let done = 0;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for (let step = first; !step.done; step = (await pictures.next()) as typeof first) {
      if (!sameSize(step.value, first.value))
        throw new InputError(
          `${source.what}: pictures of ${sizeText(first.value)} and of ${sizeText(step.value)} pixels; an .npz has one size`,
        );
      done += step.value.count;
      yield step.value.pixels;
    }
  };
  const shape = [source.count, height, width, 3];
  const part = { name: "arr_0", dtype: "uint8" as const, shape, data: counted };
  const written = writeFileAtomic(file, npzPieces([part], { crc: node.zlib.crc32 }));
  let ended = false;
  const end = written.finally(() => {
    ended = true;
  });
  end.catch(() => undefined); // thrown below
  while (!ended) {
    await Promise.race([end, new Promise((resolve) => setTimeout(resolve, 100))]);
    yield done;
  }
  await end;
}
