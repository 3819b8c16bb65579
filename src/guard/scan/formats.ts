/** The formats, as a table: by which marks each is known, and who scans it. */

import { startsWith, viewOf } from "./bytes.ts";
import { scanText } from "./config.ts";
import { scanPacked, scanTar, scanZip } from "./containers.ts";
import { scanGguf } from "./gguf.ts";
import { scanH5 } from "./h5.ts";
import { scanNpy } from "./npy.ts";
import { scanOnnx } from "./onnx.ts";
import type { Part } from "./part.ts";
import { bearsPickle, scanPickle } from "./pickle.ts";
import { scanSafetensors } from "./safetensors.ts";
import { scanSevenZip } from "./seven-zip.ts";
import {
  baseOf,
  claimsPickle,
  type Head,
  hasProto,
  isSafetensors,
  isText,
  isZip,
} from "./sniff.ts";
import { scanTensorflow } from "./tensorflow.ts";

export interface Format {
  readonly kind: string;
  readonly bears: (head: Head) => boolean;
  readonly scan: (part: Part, head: Head) => Promise<void>;
}

const magic =
  (...texts: string[]) =>
  ({ bytes }: Head): boolean =>
    texts.some((text) => startsWith(bytes, text));

const isZlib = ({ bytes, ending }: Head): boolean =>
  bytes.length > 6 &&
  bytes[0] === 0x78 &&
  ((bytes[0]! << 8) | bytes[1]!) % 31 === 0 &&
  ["z", "zlib", "joblib", "pkl", "pickle", "pt", "pth", "bin", "model", "gz"].includes(ending);

/** The old .lzma: settings below 225, a dictionary that is a power of two, a size that may be unknown. */
const isLzma = ({ bytes }: Head): boolean =>
  bytes.length > 18 &&
  bytes[0] === 0x5d &&
  bytes[1] === 0 &&
  bytes[2] === 0 &&
  bytes[13] === 0 &&
  (viewOf(bytes).getBigUint64(5, true) === 0xffffffffffffffffn ||
    viewOf(bytes).getBigUint64(5, true) < 2n ** 40n);

/** BZh, a level, then a block or the end mark. */
const isBzip2 = ({ bytes }: Head): boolean =>
  startsWith(bytes, "BZh") &&
  (startsWith(bytes, "1AY&SY", 4) || startsWith(bytes, "\x17rE8P\x90", 4));

const isOnnx = ({ ending, bytes }: Head): boolean =>
  ending === "onnx" ||
  // ModelProto: ir_version below 16, then producer, domain, graph or opsets.
  (bytes.length > 4 &&
    bytes[0] === 8 &&
    bytes[1]! < 16 &&
    ["\x12", "\x1a", "\x22", "\x3a", "\x42"].includes(String.fromCharCode(bytes[2]!)) &&
    ["", "ort", "model"].includes(ending));

const isTensorflow = ({ ending, name }: Head): boolean =>
  ending === "pb" ||
  ending === "meta" ||
  /^(saved_model|keras_metadata|frozen_graph)/.test(baseOf(name));

const packed = (codec: string, bears: Format["bears"]): Format => ({
  kind: codec,
  bears,
  scan: scanPacked(codec),
});

/** Formats with marks of their own, apart from pickle and text. */
const MARKED: readonly Format[] = [
  { kind: "zip", bears: isZip, scan: scanZip },
  { kind: "tar", bears: ({ isTar }) => isTar, scan: scanTar },
  packed("gzip", magic("\x1f\x8b")),
  packed("zlib", isZlib),
  packed("bz2", isBzip2),
  packed("xz", magic("\xfd7zXZ\x00")),
  packed("lzma", isLzma),
  packed("lz4", magic("\x04\x22\x4d\x18")),
  packed("lz4, the old form", magic("\x02\x21\x4c\x18")),
  packed("zstd", magic("\x28\xb5\x2f\xfd")),
  packed(
    "skippable frames",
    ({ bytes }) => (bytes[0]! & 0xf0) === 0x50 && startsWith(bytes, "\x2a\x4d\x18", 1),
  ),
  // Not opened.
  packed("rar", magic("Rar!\x1a\x07")),
  packed("cab", magic("MSCF\x00\x00\x00\x00")),
  packed("compress", magic("\x1f\x9d")),
  packed("snappy frames", magic("\xff\x06\x00\x00sNaPpY")),
  { kind: "7z", bears: magic("7z\xbc\xaf\x27\x1c"), scan: scanSevenZip },
  { kind: "npy", bears: magic("\x93NUMPY"), scan: scanNpy },
  { kind: "safetensors", bears: isSafetensors, scan: scanSafetensors },
  { kind: "gguf", bears: (h) => magic("GGUF")(h) || h.ending === "gguf", scan: scanGguf },
  { kind: "hdf5", bears: ({ h5At }) => h5At >= 0, scan: scanH5 },
  { kind: "onnx", bears: isOnnx, scan: scanOnnx },
  { kind: "tensorflow", bears: isTensorflow, scan: scanTensorflow },
];

const isMarked = (head: Head): boolean => MARKED.some(({ bears }) => bears(head));

/** In this order; a part may bear the marks of several. */
export const FORMATS: readonly Format[] = [
  ...MARKED,
  {
    kind: "pickle",
    // A name alone promises a pickle only where the content is nothing else.
    bears: (h) => hasProto(h) || (bearsPickle(h) && claimsPickle(h) && !isMarked(h)),
    scan: scanPickle,
  },
  { kind: "text", bears: (h) => isText(h) && !isMarked(h) && !claimsPickle(h), scan: scanText },
];
