/** One batch of wishes to pictures, scale by scale, with the models that are loaded. Runs in the drawing thread; knows no HTTP. */

import { InputError } from "../formats/errors.ts";
import { sameSize } from "../formats/picture-size.ts";
import { encodePng } from "../formats/png.ts";
import { extend, paintCanvas } from "../image/edit/canvas.ts";
import { enlargeOrders, type Painting, paintOrders, varyOrders } from "../image/edit/edit.ts";
import { betweenOrder } from "../image/edit/interpolate.ts";
import { type Encoded, encodePicture } from "../image/edit/tokens.ts";
import type { Var } from "../image/model.ts";
import type { Order } from "../image/orders.ts";
import { rowsOf, stack } from "../image/rows.ts";
import { decodeMaps, drawOrders, idsOf, type ScaleStep } from "../image/sampler.ts";
import { mapShape } from "../image/scales.ts";
import { type Picture, toPictures } from "../image/sheet.ts";
import type { EditKind } from "./edits.ts";
import type { Drawn, FromDrawer, ServedModel, Wish } from "./protocol.ts";

/** What a client may know of a model. */
export const served = (name: string, model: Var): ServedModel => ({
  name,
  labels: model.labels,
  patchNums: model.patchNums,
  drawing: model.drawing,
  info: model.info,
  precision: model.precision,
});

/** A wish with what follows from it. */
interface Ready {
  readonly order: Order;
  readonly finish: (drawn: Picture) => Picture;
  /** The doubt of the scale under way. */
  doubt: Float32Array;
}

/** @yields after every scale what was wished for. @throws InputError where a wish cannot be granted; the signal's reason */
export async function* drawWishes(
  model: Var,
  wishes: readonly Wish[],
  { signal }: { signal: AbortSignal },
): AsyncGenerator<FromDrawer> {
  const [first] = wishes;
  if (wishes.length === 1 && first && isCanvas(model, first)) {
    yield* drawCanvas(model, first, signal);
    return;
  }
  const ready: Ready[] = [];
  const known: Encodings = new Map();
  for (const wish of wishes) ready.push(await prepare(model, wish, known));
  const orders = ready.map(({ order }) => order);
  for await (const step of drawOrders(model, orders, { batch: orders.length, signal })) {
    const last = step.scale === step.of - 1;
    const told = wishes.flatMap(({ scales }, i) => (scales || last ? [i] : []));
    const pictures = await decoded(model, step, { told, signal });
    // Packed side by side: that is most of what is left to do besides the model.
    const drawn = await Promise.all(
      told.map((i, n) => {
        const { finish, doubt } = ready[i]!;
        const facts = { wish: i, ids: Int32Array.from(idsOf(step, i)), doubt };
        return toDrawn(finish(pictures[n]!), wishes[i]!, facts);
      }),
    );
    for (const each of ready) each.doubt = new Float32Array(0);
    yield { kind: "scale", scale: step.scale, of: step.of, shape: step.shape, drawn };
  }
}

/** Extensions, and holes in pictures of another size than the model's, are drawn through windows, alone. */
export const isCanvas = ({ size }: Pick<Var, "size">, { edit }: Pick<Wish, "edit">): boolean =>
  edit?.kind === "extend" || (edit?.kind === "paint" && !sameSize(edit.picture, size));

/** Steps of a canvas that are told, at most: each is the whole of it. */
const MOST_TOLD = 32;

/** A canvas counts the scales of all its windows as its own. */
async function* drawCanvas(
  model: Var,
  wish: Wish,
  signal: AbortSignal,
): AsyncGenerator<FromDrawer> {
  const { picture, mask, blend, feather, ...edit } = wish.edit!;
  const { keepScales, left, top, right, bottom } = edit;
  const options = { ...optionsOf(model, wish), blend, feather, signal };
  const steps =
    edit.kind === "extend"
      ? extend(model, picture, { ...options, left, top, right, bottom })
      : paintCanvas(model, picture, { ...options, mask: mask!, keepScales });
  for await (const { picture: now, scale, of: K, window, windows } of steps) {
    const [at, of] = [window * K + scale, windows * K];
    const every = Math.ceil(of / MOST_TOLD);
    if (at < of - 1 && !(wish.scales && (at + 1) % every === 0)) continue;
    const drawn = await toDrawn(now, wish, {
      wish: 0,
      ids: new Int32Array(0),
      doubt: new Float32Array(0),
    });
    yield {
      kind: "scale",
      scale: at,
      of,
      shape: mapShape(model.patchNums[scale]!),
      drawn: [drawn],
    };
  }
}

/** The class number as the sampler takes it: null is "no class". */
const labelOf = ({ config }: Var, label: number): number | null =>
  label === config.classes ? null : label;

const optionsOf = (model: Var, { label, seed, index, drawing, branches }: Wish) => ({
  ...drawing,
  label: labelOf(model, label),
  seed,
  first: index,
  branches,
});

/** Pictures through the tokenizer, each once in a batch: the steps of a way have the same ends. */
type Encodings = Map<Picture, Promise<Encoded>>;
function encodedOnce(model: Var, picture: Picture, known: Encodings): Promise<Encoded> {
  const found = known.get(picture) ?? encodePicture(model, picture);
  known.set(picture, found);
  return found;
}

type Prepare = (model: Var, wish: Wish, known: Encodings) => Promise<Painting>;
/** How each kind of edit becomes orders; those through windows have none. */
const PREPARE: Readonly<Record<Exclude<EditKind, "extend">, Prepare>> = {
  paint: (model, wish) => {
    const { picture, mask, keepScales, blend, feather } = wish.edit!;
    const own = { mask: mask!, keepScales, blend, feather };
    return paintOrders(model, picture, { ...optionsOf(model, wish), ...own });
  },
  vary: (model, wish) => {
    const { picture, keepScales } = wish.edit!;
    return varyOrders(model, picture, { ...optionsOf(model, wish), keepScales });
  },
  enlarge: (model, wish) => {
    const { picture, keepScales } = wish.edit!;
    return enlargeOrders(model, picture, { ...optionsOf(model, wish), keepScales });
  },
  interpolate: async (model, wish, known) => {
    const { picture, other, part, keepScales, course } = wish.edit!;
    const ends = [
      await encodedOnce(model, picture, known),
      await encodedOnce(model, other!, known),
    ] as const;
    const own = { part: part!, keepScales, course };
    const order = betweenOrder(model, ends, { ...optionsOf(model, wish), ...own });
    return { orders: [order], finish: (drawn) => drawn };
  },
};

async function prepare(model: Var, wish: Wish, known: Encodings): Promise<Ready> {
  const { label, seed, index, drawing, branches, edit } = wish;
  const plain: Order = { label, seed, index, drawing, moreSmooth: false, branches };
  const painting: Painting = edit
    ? await PREPARE[edit.kind as keyof typeof PREPARE](model, wish, known)
    : { orders: [plain], finish: (drawn) => drawn };
  const ready: Ready = {
    order: { ...painting.orders[0]!, watch: wish.scales ? watch : undefined },
    finish: painting.finish,
    doubt: new Float32Array(0),
  };
  function watch(_: number, logits: Float32Array): void {
    ready.doubt = entropies(logits, { codes: model.tokenizer.codes, ...drawing });
  }
  return ready;
}

/** Entropy of each row's distribution over its largest possible, log V: 0 is certain, 1 is any code. */
export function entropies(
  logits: Float32Array,
  { codes, temperature }: { codes: number; temperature: number },
): Float32Array {
  const out = new Float32Array(logits.length / codes);
  for (let row = 0; row < out.length; row++) {
    const own = logits.subarray(row * codes, (row + 1) * codes);
    let most = Number.NEGATIVE_INFINITY;
    for (let v = 0; v < codes; v++) most = Math.max(most, own[v]!);
    let [total, weighted] = [0, 0];
    for (let v = 0; v < codes; v++) {
      const x = (own[v]! - most) / temperature;
      const weight = Math.exp(x);
      total += weight;
      if (weight > 0) weighted += weight * x;
    }
    out[row] = (Math.log(total) - weighted / total) / Math.log(codes);
  }
  return out;
}

/** Only the pictures that are told are decoded. */
async function decoded(
  model: Var,
  { fHat }: ScaleStep,
  { told, signal }: { told: readonly number[]; signal: AbortSignal },
): Promise<Picture[]> {
  if (told.length === 0) return [];
  const maps =
    told.length === fHat.shape[0] ? fHat : stack(told.map((i) => rowsOf(fHat, i, i + 1)));
  return toPictures(await decodeMaps(model, maps, { signal }));
}

async function toDrawn(
  picture: Picture,
  { note }: Wish,
  { wish, ids, doubt }: Pick<Drawn, "wish" | "ids" | "doubt">,
): Promise<Drawn> {
  const png = await encodePng(picture, { text: { underpaint: note } });
  return { wish, png, width: picture.width, height: picture.height, ids, doubt };
}

/** What went wrong, as the server is told. */
export function told(error: unknown): FromDrawer {
  if (error instanceof Error && error.name === "AbortError") return { kind: "stopped" };
  const input = error instanceof InputError;
  const message = error instanceof Error ? error.message : String(error);
  return { kind: "failed", message, input };
}
