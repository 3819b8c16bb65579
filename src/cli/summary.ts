/** What a checkpoint holds, told from its header: kind, configuration, parameters, tensors. Runs and trusts nothing. */

import { BYTES, type DType, sizeOf } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { openFile, openTensorFile } from "../formats/node.ts";
import type { PictureSize } from "../formats/picture-size.ts";
import type { VarConfig, VqvaeConfig } from "../image/config.ts";
import type { Drawing } from "../image/drawing.ts";
import { inferVarConfig, inferVqvaeConfig, modelKind, type Shapes } from "../image/infer-config.ts";
import { NESTED } from "../image/model.ts";
import { noteConfig, readNote } from "../image/note.ts";
import { imageSize } from "../image/scales.ts";

export interface TensorRow {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

export interface Summary {
  readonly file: string;
  /** Bytes of the file. */
  readonly size: number;
  readonly format: string;
  /** What it is for: a model, or the state of a training run. */
  readonly kind: "var" | "vqvae" | "trainer checkpoint" | "training state" | "tensors";
  /** Values in tensors that are trained, as far as names tell: everything that is a float. */
  readonly parameters: number;
  readonly config?: VarConfig | VqvaeConfig;
  /** H = W of the pictures, where the file tells. */
  readonly pictureSize?: PictureSize;
  readonly classes?: readonly string[];
  /** How the model recommends to draw. */
  readonly drawing?: Partial<Drawing>;
  readonly tensors: readonly TensorRow[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Why there is no configuration. */
  readonly doubt?: string;
}

interface Contents {
  readonly format: string;
  readonly tensors: ReadonlyMap<
    string,
    { readonly dtype: DType; readonly shape: readonly number[] }
  >;
  readonly metadata: Readonly<Record<string, string>>;
}

const FLOATS: ReadonlySet<DType> = new Set(["float16", "bfloat16", "float32", "float64", "int8"]);

/** Looks into a checkpoint of any format. @throws InputError when it is none */
export async function summarize(file: string): Promise<Summary> {
  const { size, contents } = await look(file);
  const { tensors, metadata, format } = contents;
  const rows = [...tensors].map(([name, { dtype, shape }]) => ({
    name,
    dtype,
    shape,
    bytes: sizeOf(shape) * BYTES[dtype],
  }));
  const parameters = rows
    .filter(({ dtype }) => FLOATS.has(dtype))
    .reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const common = { file, size, format, parameters, tensors: rows, metadata };
  if (metadata["underpaint.checkpoint"] !== undefined) return { ...common, kind: "training state" };
  const inner = innerModel(tensors);
  const model = modelKind((inner ?? tensors).keys());
  if (model === undefined) return { ...common, kind: "tensors" };
  const kind = inner ? "trainer checkpoint" : model;
  try {
    const own = inner ? { ...contents, tensors: inner } : contents;
    return { ...common, kind, ...configOf(model, file, own) };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ...common, kind, doubt: error.message };
  }
}

/** The transformer inside a checkpoint of the official trainer. */
function innerModel(tensors: Contents["tensors"]): Contents["tensors"] | undefined {
  const own = [...tensors].filter(([name]) => name.startsWith(NESTED.var));
  return own.length === 0
    ? undefined
    : new Map(own.map(([name, tensor]) => [name.slice(NESTED.var.length), tensor]));
}

function configOf(kind: "var" | "vqvae", file: string, { tensors, metadata }: Contents) {
  const note = readNote(metadata, { kind, what: file });
  // Only shapes are looked at: the data is not in memory.
  const shapes: Shapes = tensors;
  if (kind === "var") {
    const config = note
      ? noteConfig(note, { kind: "var", what: file })
      : inferVarConfig(shapes, { what: file });
    return { config, classes: note?.classes, drawing: note?.drawing };
  }
  const config = note
    ? noteConfig(note, { kind: "vqvae", what: file })
    : inferVqvaeConfig(shapes, { what: file });
  return { config, pictureSize: imageSize(config) };
}

/** Names, types and shapes; the data stays on disk. */
async function look(file: string): Promise<{ size: number; contents: Contents }> {
  const contents = await openTensorFile(file, { verify: false });
  const source = await openFile(file);
  await source.close();
  return { size: source.size, contents };
}
