/** A loaded VAR: configurations, class names, weights, and graphs compiled when first used. Draws nothing: see sampler.ts. */

import type { Tensor, TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import {
  isLazy,
  readWeight,
  readWeights,
  type Weight,
  type WeightMap,
  weightBytes,
} from "../formats/lazy.ts";
import type { PictureSize } from "../formats/picture-size.ts";
import { readPth } from "../formats/pth.ts";
import { dequantizeLazily } from "../formats/quantize.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { checkWeights, countParams } from "../nn/spec.ts";
import {
  type Backend,
  type BackendName,
  type BackendOptions,
  inNode,
  openBackend,
  type Session,
  type Tensors,
} from "../tensor/backend.ts";
import type { Graph } from "../tensor/graph.ts";
import { decoderRanges } from "./calibrate.ts";
import type { KnownClasses } from "./conditioning.ts";
import { checkPair, type VarConfig, type VqvaeConfig } from "./config.ts";
import { type Drawing, USUAL_DRAWING, withDrawing } from "./drawing.ts";
import { inferVarConfig, inferVqvaeConfig, modelKind } from "./infer-config.ts";
import { freeKvCache, type KvLender } from "./kv-cache.ts";
import { type ModelNote, noteConfig, readNote } from "./note.ts";
import {
  atPrecision,
  type DecoderRanges,
  type Precision,
  type PrecisionChoice,
  resolvePrecision,
} from "./precision.ts";
import { imageSize, type PatchNum, tokenCount } from "./scales.ts";
import { varSpecs } from "./var-layout.ts";
import {
  advanceGraph,
  classGraph,
  decodeGraph,
  encodeGraph,
  headGraph,
  quantizeGraph,
  scaleGraph,
  type VarParts,
} from "./var-step.ts";
import { checkVqvaeWeights, vqvaeSpecs } from "./vqvae-layout.ts";

/** Tensors of one file with its text metadata. What is to be read later stays unread, but for small tensors. */
export interface ModelFile {
  readonly tensors: WeightMap;
  readonly metadata?: Readonly<Record<string, string>>;
  /** For errors, e.g. the file's name. */
  readonly what?: string;
}

/** A whole file as bytes (safetensors or .pth), or already read. */
export type ModelSource = Uint8Array | ModelFile;

export interface LoadOptions extends BackendOptions {
  /** Default: the fastest that works here. */
  backend?: Backend | BackendName;
  /** Threads inside one operation. Default: every core. */
  threads?: number;
  /** Names of the classes, for files that hold none. */
  labels?: readonly string[];
  /** Shapes of the token maps, for files that do not tell them. */
  patchNums?: readonly PatchNum[];
  /** "int8" is faster and takes less memory, at some loss of quality; "auto" is that where it pays. Default "fp32". */
  precision?: PrecisionChoice;
  /**
   * Gives the decoder's ranges for "int8", calling `find` only when it has none. Default: calls it once per model;
   * `loadVarFrom` keeps those of large models in the cache folder.
   */
  ranges?: (find: () => Promise<DecoderRanges>, model: Var) => Promise<DecoderRanges>;
}

/** What a model is, for people and for `--json`. */
export interface VarInfo {
  readonly depth: number;
  readonly width: number;
  readonly heads: number;
  readonly classes: number;
  readonly codes: number;
  /** Of the pictures, in pixels. */
  readonly size: PictureSize;
  /** Tokens of one picture over all scales. */
  readonly tokens: number;
  readonly parameters: { readonly transformer: number; readonly tokenizer: number };
}

const CODEBOOK = "quantize.embedding.weight";

/** The graphs of sampling and editing by name. */
const GRAPHS = {
  class: classGraph,
  scale: scaleGraph,
  head: headGraph,
  decode: decodeGraph,
  encode: encodeGraph,
  quantize: quantizeGraph,
} as const satisfies Record<string, (parts: VarParts, precision: Precision) => Graph>;
/** Those whose results are large go to memory that the sampler keeps. */
const INTO: ReadonlySet<string> = new Set(["scale", "head"]);
/** Bytes of a class's weights from which on they are not held. */
const LARGE = 2 ** 26;
/** `advance 3`: from the codes of scale 3 to the next. */
type GraphName = keyof typeof GRAPHS | `advance ${number}`;

type VarOptions = LoadOptions & { precision?: Precision; drawing?: Partial<Drawing> };

/** A VAR with its tokenizer, ready to sample from. Has a life: release it. */
export class Var {
  readonly config: VarConfig;
  readonly tokenizer: VqvaeConfig;
  /** Names of the classes; their place is their number. */
  readonly labels: readonly string[];
  /** How `sample` draws where it is not told otherwise: what the model's file recommends. */
  readonly drawing: Drawing;
  /** What it runs in: "auto" has been decided. */
  readonly precision: Precision;
  /** V C: code vectors. */
  readonly codebook: Tensor;
  /** What classes drawn before said; see conditioning.ts. */
  readonly knownClasses: KnownClasses = new Map();
  /** Memory of keys and values that goes from picture to picture; whoever asked for int8 has little. */
  readonly kvLender: KvLender;
  readonly #parts: VarParts;
  readonly #options: LoadOptions;
  readonly #sessions = new Map<GraphName, Promise<Session>>();
  #ranges?: Promise<DecoderRanges>;

  /** Use `loadVar`. */
  constructor(
    parts: VarParts,
    labels: readonly string[],
    { drawing = {}, ...options }: VarOptions,
  ) {
    this.#parts = parts;
    this.#options = options;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.labels = Object.freeze([...labels]);
    this.drawing = Object.freeze(withDrawing(USUAL_DRAWING, drawing));
    this.precision = options.precision ?? "fp32";
    this.kvLender = { keeps: this.precision === "fp32" };
    this.codebook = parts.tokenizerWeights.get(CODEBOOK) as Tensor;
  }

  /** Of the pictures, in pixels. */
  get size(): PictureSize {
    return imageSize(this.tokenizer);
  }

  /** Shapes of the token maps, coarse to fine. */
  get patchNums(): readonly PatchNum[] {
    return this.config.patchNums;
  }

  get info(): VarInfo {
    const { depth, width, heads, classes, codes } = this.config;
    const parameters = {
      transformer: countParams(varSpecs(this.config)),
      tokenizer: countParams(vqvaeSpecs(this.tokenizer)),
    };
    const tokens = tokenCount(this.config);
    return { depth, width, heads, classes, codes, size: this.size, tokens, parameters };
  }

  /** Weights and configurations, for other graphs over the same model. */
  get parts(): VarParts {
    return this.#parts;
  }

  /** The compiled graph of that name; compiled at the first call. */
  session(name: GraphName): Promise<Session> {
    let session = this.#sessions.get(name);
    if (!session) {
      session = this.#compile(name);
      this.#sessions.set(name, session);
    }
    return session;
  }

  /**
   * Runs a graph that a batch runs once. One of large weights is compiled for this run alone: they are mapped from
   * their file, read, and not held while the others run (403 MB of 1.5 GB for d16, for 0.15 s a batch; in 8 bits a
   * quarter of both).
   */
  async runOnce(name: GraphName, feeds: Tensors): Promise<Tensors> {
    const { depth, width, sharedAdaLN } = this.config;
    const bytes = 6 * depth * width ** 2 * (this.precision === "fp32" ? 4 : 1);
    const isHeld = sharedAdaLN || bytes < LARGE;
    if (isHeld) return (await this.session(name)).run(feeds);
    const session = await this.#compile(name);
    try {
      return await session.run(feeds);
    } finally {
      await session.release();
    }
  }

  async #compile(name: GraphName): Promise<Session> {
    const { backend, threads, firstUse } = this.#options;
    const engine = typeof backend === "object" ? backend : await openBackend(backend, { firstUse });
    // From codes to the next scale is so little work that waking a second thread takes longer.
    const own = name.startsWith("advance") ? 1 : threads;
    const compile = (g: Graph, at = own) =>
      engine.compile(g, { threads: at, resultsInto: INTO.has(g.name) });
    const { precision } = this;
    // Before anything else is compiled: a calibration needs the memory that drawing will.
    const ranges =
      precision === "int8" ? await this.#findRanges((g) => compile(g, threads)) : undefined;
    const graph =
      name in GRAPHS
        ? GRAPHS[name as keyof typeof GRAPHS](this.#parts, this.precision)
        : advanceGraph(this.#parts, Number(name.split(" ")[1]));
    return compile(ranges ? atPrecision(name, graph, { precision, ranges }) : graph);
  }

  #findRanges(compile: (g: Graph) => Promise<Session>): Promise<DecoderRanges> {
    if (!this.#ranges) {
      const { ranges: keep = (find) => find() } = this.#options;
      const { drawing, precision } = this;
      const options = { ...this.#options, drawing, precision, ranges: async () => new Map() };
      const find = () => decoderRanges(new Var(this.#parts, this.labels, options), compile);
      this.#ranges = keep(find, this);
      this.#ranges.catch(() => {
        this.#ranges = undefined; // the next call may have more luck
      });
    }
    return this.#ranges;
  }

  /** Frees what was compiled; the model can be used again and compiles anew. */
  async release(): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    this.knownClasses.clear();
    if (this.kvLender.kept) freeKvCache(this.kvLender.kept);
    this.kvLender.kept = undefined;
    for (const session of sessions) await (await session).release();
  }
}

/**
 * A model from its two files. Weights in float16, bfloat16 or int8 (see `quantizeWeights`) become float32. The
 * configuration is the JSON in metadata `underpaint`; for official files it is inferred from names and shapes.
 * Nothing is built before every tensor of both files is checked.
 * @throws InputError naming the file, the tensor, what was expected and found
 */
export async function loadVar(
  files: { var: ModelSource; vqvae: ModelSource },
  options: LoadOptions = {},
): Promise<Var> {
  const transformer = await opened(files.var, { kind: "var", what: "the transformer's file" });
  const vqvae = await opened(files.vqvae, { kind: "vqvae", what: "the tokenizer's file" });
  const config = varConfigOf(transformer, options);
  const tokenizer = vqvaeConfigOf(vqvae, options.patchNums ?? config.patchNums);
  checkPair(config, tokenizer);
  const labels = options.labels ?? transformer.note?.classes ?? numbered(config.classes);
  if (labels.length !== config.classes)
    throw new InputError(
      `${transformer.what} has ${config.classes} classes, got ${labels.length} labels; give one name per class`,
      { classes: config.classes, labels: labels.length },
    );
  const parts = {
    config,
    weights: await checkedVar(config, transformer),
    tokenizer,
    tokenizerWeights: await checkedVqvae(tokenizer, vqvae),
  };
  const precision = resolvePrecision(options.precision ?? "fp32", {
    backend: backendName(options),
    parameters: countParams(varSpecs(config)) + countParams(vqvaeSpecs(tokenizer)),
  });
  return new Var(parts, labels, { ...options, precision, drawing: transformer.note?.drawing });
}

/** A transformer without a tokenizer, its weights read: for training that starts from it. @throws InputError as `loadVar` */
export async function loadTransformer(
  source: ModelSource,
): Promise<{ config: VarConfig; weights: TensorMap; labels?: readonly string[] }> {
  const transformer = await opened(source, { kind: "var", what: "the transformer's file" });
  const config = varConfigOf(transformer, {});
  const weights = await readWeights(await checkedVar(config, transformer));
  return { config, weights: weights as Map<string, Tensor>, labels: transformer.note?.classes };
}

/** What `openBackend` will open, if it can. */
const backendName = ({ backend }: LoadOptions): BackendName =>
  typeof backend === "object" ? backend.name : (backend ?? (inNode() ? "ort-node" : "ort-web"));

const numbered = (n: number): string[] => Array.from({ length: n }, (_, i) => `class ${i}`);

interface Opened {
  readonly tensors: ReadonlyMap<string, Weight>;
  readonly note: ModelNote | undefined;
  readonly what: string;
}

/** Where the official trainer's resume checkpoints keep the two models. */
export const NESTED = { var: "trainer.var_wo_ddp.", vqvae: "trainer.vae_local." } as const;

async function opened(
  source: ModelSource,
  { kind, what: name }: { kind: "var" | "vqvae"; what: string },
): Promise<Opened> {
  const file: ModelFile = source instanceof Uint8Array ? await parsed(source, name) : source;
  const what = file.what ?? name;
  const prefix = NESTED[kind];
  const nested = [...file.tensors].filter(([key]) => key.startsWith(prefix));
  const own = nested.length
    ? new Map(nested.map(([key, tensor]) => [key.slice(prefix.length), tensor]))
    : file.tensors;
  const found = modelKind(own.keys());
  if (found !== kind)
    throw new InputError(
      `${what} holds ${found === undefined ? "neither a VAR nor a VQVAE" : `a ${found}`}, wanted a ${kind}; give the other file`,
      { what, found, wanted: kind },
    );
  const read = await readWeights(own, (_, weight) => weightBytes(weight) <= SMALL);
  return { tensors: dequantizeLazily(read), note: readNote(file.metadata, { kind, what }), what };
}

/** Biases, gates, levels: tensors of at most this many bytes are read at once. */
const SMALL = 2 ** 16;

/** Either format, told by its content; errors begin with the file's name. */
async function parsed(bytes: Uint8Array, what: string): Promise<ModelFile> {
  try {
    // A safetensors file has a brace after the 8 bytes of its header's length.
    if (bytes[8] === 0x7b) return readSafetensors(bytes);
    return { tensors: (await readPth(bytes)).tensors };
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${what}: ${error.message}`, error.data);
    throw error;
  }
}

function varConfigOf({ tensors, note, what }: Opened, { patchNums }: LoadOptions): VarConfig {
  return note
    ? noteConfig(note, { kind: "var", what })
    : inferVarConfig(tensors, { patchNums, what });
}

function vqvaeConfigOf(
  { tensors, note, what }: Opened,
  patchNums: readonly PatchNum[],
): VqvaeConfig {
  return note
    ? noteConfig(note, { kind: "vqvae", what })
    : inferVqvaeConfig(tensors, { patchNums, what });
}

/** Parameters first: a configuration that lies must not make us build its buffers. */
async function checkedVar(config: VarConfig, { tensors, what }: Opened): Promise<WeightMap> {
  const specs = varSpecs(config);
  const buffers = new Set(specs.filter(({ kind }) => kind === "buffer").map(({ name }) => name));
  const params = new Map([...tensors].filter(([name]) => !buffers.has(name)));
  checkWeights(
    specs.filter(({ kind }) => kind === "param"),
    params,
    { what },
  );
  const checked = checkWeights(specs, tensors, { what });
  if (![...checked].some(([name, weight]) => buffers.has(name) && isLazy(weight))) return checked;
  return checkWeights(specs, await readWeights(checked, (name) => buffers.has(name)), { what });
}

/** The codebook is looked up outside of graphs. */
async function checkedVqvae(
  config: VqvaeConfig,
  { tensors, what }: Opened,
): Promise<Map<string, Weight>> {
  const checked = checkVqvaeWeights(config, tensors, { what });
  return checked.set(CODEBOOK, await readWeight(checked.get(CODEBOOK)!));
}
