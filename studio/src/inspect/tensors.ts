/** The tensors that a checkpoint of any kind lists, read by range. Loads no data, judges nothing: that is the scanner's. */

import { type ByteSource, blobSource } from "../../../src/formats/bytes.ts";
import { readNpyHeader } from "../../../src/formats/npy.ts";
import { readNpz } from "../../../src/formats/npz.ts";
import { readOnnx } from "../../../src/formats/onnx-read.ts";
import { lazyPth } from "../../../src/formats/pth.ts";
import { readSafetensorsHeader } from "../../../src/formats/safetensors.ts";
import { readGguf } from "../../../src/guard/scan/gguf.ts";

export interface TensorRow {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** Formats that are read whole are listed up to this size. */
const HELD = 2 ** 28;
/** A GGUF header with its vocabulary fits. */
const GGUF_HEADER = 2 ** 26;

type List = (source: ByteSource) => Promise<TensorRow[]>;

const rows = (tensors: ReadonlyMap<string, Omit<TensorRow, "name">>): TensorRow[] =>
  [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));

/** By what the scanner calls the content; the first that fits. */
const READERS: readonly (readonly [kind: RegExp, list: List])[] = [
  [/safetensors/, async (source) => rows((await readSafetensorsHeader(source)).entries)],
  [
    /gguf/,
    async (source) => {
      const head = await source.read(0, Math.min(source.size, GGUF_HEADER));
      const { tensors } = readGguf(head, source.size);
      return tensors.map(({ name, type, dims }) => ({
        name,
        dtype: type,
        shape: dims.toReversed(),
      }));
    },
  ],
  [
    /onnx/,
    async (source) => {
      const { graph } = readOnnx(await held(source));
      return graph.initializers.map((one) => {
        const { dtype, shape } = "tensor" in one ? one.tensor : one;
        return { name: one.name, dtype, shape };
      });
    },
  ],
  [
    /npy/,
    async (source) => {
      const head = await source.read(0, Math.min(source.size, 4096));
      const { dtype, shape } = readNpyHeader(head, "the array");
      return [{ name: "", dtype, shape }];
    },
  ],
  [/zip|pickle|torch/, async (source) => rows((await lazyPth(source, { verify: false })).tensors)],
  [
    /npz|zip/,
    async (source) => {
      const found: TensorRow[] = [];
      for (const [name, { dtype, shape }] of await readNpz(source))
        found.push({ name, dtype, shape });
      return found;
    },
  ],
];

async function held(source: ByteSource): Promise<Uint8Array> {
  if (source.size > HELD) throw new RangeError("too large to be held");
  return source.read(0, source.size);
}

/** @param format as the scanner calls it. @returns nothing where no reader of ours accepts the file */
export async function listTensors(file: Blob, format: string): Promise<readonly TensorRow[]> {
  const source = blobSource(file);
  for (const [kind, list] of READERS) {
    if (!kind.test(format)) continue;
    try {
      return await list(source);
    } catch {} // what our strict readers refuse is told by the scanner
  }
  return [];
}
