/** What a study keeps of work that was done: figures under the recipe that made them, drawn pictures as plain bytes. */

import { node } from "../../formats/builtins.node.ts";
import { concatBytes } from "../../formats/bytes.ts";
import { writeFileAtomic } from "../../formats/node.ts";
import { type PictureSize, pixelCount } from "../../formats/picture-size.ts";
import type { Picture } from "../../image/sheet.ts";
import type { Pictures } from "../nearest.ts";

/** What `file` holds, when the same recipe made it. */
export async function readKept<T>(file: string, recipe: object): Promise<T | undefined> {
  const text = await node.fs.readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const found = JSON.parse(text) as { recipe: unknown; measured: T };
    return JSON.stringify(found.recipe) === JSON.stringify(recipe) ? found.measured : undefined;
  } catch {
    return undefined; // cut off or not ours: measured anew
  }
}

export async function writeKept(
  file: string,
  { recipe, measured }: { recipe: object; measured: unknown },
): Promise<void> {
  const text = `${JSON.stringify({ recipe, measured }, null, 2)}\n`;
  await writeFileAtomic(file, new TextEncoder().encode(text));
}

/**
 * Pictures of one size in one growing file, named by the recipe that draws them: a batch at a time is
 * added, and a batch that was cut off is drawn again.
 */
export async function drawnFile(
  folder: string,
  at: { recipe: object; size: PictureSize; batch: number },
) {
  const { recipe, size, batch } = at;
  const hash = node.crypto.createHash("sha256").update(JSON.stringify(recipe)).digest("hex");
  const file = node.path.join(folder, `drawn-${hash.slice(0, 16)}.rgb`);
  const bytes = pixelCount(size) * 3;
  const found = await node.fs.readFile(file).catch(() => new Uint8Array(0));
  const whole = found.length - (found.length % (bytes * batch));
  if (whole < found.length) await node.fs.truncate(file, whole);
  const parts: Uint8Array[] = [found.subarray(0, whole)];
  let count = whole / bytes;
  return {
    count: () => count,
    async add(pictures: readonly Picture[]) {
      const more = concatBytes(pictures.map(({ data }) => data));
      await node.fs.appendFile(file, more);
      parts.push(more);
      count += pictures.length;
    },
    first: (n: number): Pictures => ({
      count: n,
      ...size,
      pixels: concatBytes(parts).subarray(0, n * bytes),
    }),
  };
}
