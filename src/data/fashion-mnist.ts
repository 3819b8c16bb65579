/** Fashion-MNIST: 70,000 grey 28x28 pictures of clothes in ten classes, from four IDX files. Downloads nothing. */

import { node } from "../formats/builtins.node.ts";
import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { readIdx } from "../formats/idx.ts";
import {
  type PictureSize,
  pictureSize,
  type SizeOption,
  sizeText,
} from "../formats/picture-size.ts";
import type { ImageDataset, Split } from "./types.ts";

/** Where Debian's package dataset-fashion-mnist puts the files. */
const DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist";
const PREFIX: Readonly<Record<Split, string>> = { train: "train", test: "t10k" };
const SIDE = 28;
const MAX_BYTES = 64e6; // the largest file is 47 MB unpacked: a gzip bomb stops here

export const FASHION_CLASSES = Object.freeze([
  "t-shirt",
  "trouser",
  "pullover",
  "dress",
  "coat",
  "sandal",
  "shirt",
  "sneaker",
  "bag",
  "ankle-boot",
]);

export interface FashionOptions {
  /** Default "train": 60,000 pictures; "test": 10,000. */
  readonly split?: Split;
  /** Folder with the four files, raw or .gz; default Debian's. */
  readonly folder?: string;
  /** Of the pictures: 28 (default), or larger (32, 64, 48x32 ...) with a black border. */
  readonly size?: SizeOption;
}

/**
 * Loads Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), grey repeated in three channels.
 * Throws InputError when files are absent, damaged, or do not belong together.
 */
export async function fashionMnist({
  split = "train",
  folder = DEBIAN_FOLDER,
  size: wanted = SIDE,
}: FashionOptions = {}): Promise<ImageDataset> {
  const size = pictureSize(wanted);
  if (!Object.values(size).every((n) => Number.isInteger(n) && n >= SIDE && n <= 256)) {
    throw new InputError(
      `fashion-mnist: got size ${sizeText(size)}, want 28 to 256 along each side (the rest is a black border)`,
    );
  }
  const images = await readPart(folder, `${PREFIX[split]}-images-idx3-ubyte`);
  const labels = await readPart(folder, `${PREFIX[split]}-labels-idx1-ubyte`);
  const [count = 0, height, width] = images.shape;
  if (images.shape.length !== 3 || height !== SIDE || width !== SIDE || labels.shape[0] !== count) {
    throw new InputError(
      `fashion-mnist: images ${images.shape.join("x")} and labels ${labels.shape.join("x")}, want Nx28x28 and N; take both files from one release`,
    );
  }
  const labelBytes = labels.data as Uint8Array;
  const wrong = labelBytes.findIndex((l) => l >= FASHION_CLASSES.length);
  if (wrong >= 0) {
    throw new InputError(
      `fashion-mnist: picture ${wrong} has label ${labelBytes[wrong]}, want 0 to 9`,
    );
  }
  return {
    name: "fashion-mnist",
    split,
    ...size,
    channels: 3,
    count,
    classes: FASHION_CLASSES,
    pixels: greyToRgb(images.data as Uint8Array, count, size),
    label: (i) => labelBytes[i]!,
    id: (i) => `${split}/${i}`,
    concept: (i) => `${split}/${i}`,
    attribution: [
      {
        name: "Fashion-MNIST, Zalando SE",
        licence: "MIT",
        url: "https://github.com/zalandoresearch/fashion-mnist",
      },
    ],
  };
}

function greyToRgb(grey: Uint8Array, count: number, { width, height }: PictureSize): Uint8Array {
  const [left, top] = [Math.floor((width - SIDE) / 2), Math.floor((height - SIDE) / 2)];
  const out = new Uint8Array(count * height * width * 3);
  let from = 0;
  for (let i = 0; i < count; i++) {
    for (let y = 0; y < SIDE; y++) {
      let to = ((i * height + y + top) * width + left) * 3;
      for (let x = 0; x < SIDE; x++, from++) {
        const value = grey[from]!;
        for (let c = 0; c < 3; c++) out[to++] = value;
      }
    }
  }
  return out;
}

/** Reads `name` or `name.gz`, whichever is there. */
async function readPart(folder: string, name: string): Promise<Tensor> {
  const path = node.path.join(folder, name);
  const raw = await readIfThere(path);
  if (raw) return readIdx(raw, name);
  const packed = await readIfThere(`${path}.gz`);
  if (!packed) {
    throw new InputError(
      `fashion-mnist: neither ${path} nor ${path}.gz is there; run apt-get install dataset-fashion-mnist, or name a folder with the four IDX files`,
      { folder, name },
    );
  }
  let bytes: Uint8Array;
  try {
    bytes = await node.util.promisify(node.zlib.gunzip)(packed, { maxOutputLength: MAX_BYTES });
  } catch (cause) {
    throw new InputError(
      `fashion-mnist: ${path}.gz does not unpack (${(cause as Error).message}); download it again`,
    );
  }
  return readIdx(bytes, name);
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await node.fs.readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new InputError(`fashion-mnist: cannot read ${path} (${(cause as Error).message})`);
  }
}
