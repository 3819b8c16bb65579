/** One batch of wishes to pictures, scale by scale, with the models that are loaded. Runs in the drawing thread; knows no HTTP. */

import { InputError } from "../formats/errors.ts";
import { encodePng } from "../formats/png.ts";
import { paintCanvas } from "../image/edit/canvas.ts";
import { type Painting, paintOrders, varyOrders } from "../image/edit/edit.ts";
import type { Var } from "../image/model.ts";
import type { Order } from "../image/orders.ts";
import { rowsOf, stack } from "../image/rows.ts";
import { decodeMaps, drawOrders, type ScaleStep } from "../image/sampler.ts";
import { type Picture, toPictures } from "../image/sheet.ts";
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
  for (const wish of wishes) ready.push(await prepare(model, wish));
  const orders = ready.map(({ order }) => order);
  for await (const step of drawOrders(model, orders, { batch: orders.length, signal })) {
    const last = step.scale === step.of - 1;
    const told = wishes.flatMap(({ scales }, i) => (scales || last ? [i] : []));
    const pictures = await decoded(model, step, { told, signal });
    const { side, ids } = step;
    // Packed side by side: that is most of what is left to do besides the model.
    const drawn = await Promise.all(
      told.map((i, n) => {
        const { finish, doubt } = ready[i]!;
        const own = ids.data.subarray(i * side ** 2, (i + 1) * side ** 2) as BigInt64Array;
        const facts = { wish: i, ids: Int32Array.from(own, Number), doubt };
        return toDrawn(finish(pictures[n]!), wishes[i]!, facts);
      }),
    );
    for (const each of ready) each.doubt = new Float32Array(0);
    yield { kind: "scale", scale: step.scale, of: step.of, side: step.side, drawn };
  }
}

/** Pictures of another size than the model's are edited through a window, alone. */
export const isCanvas = ({ size }: { size: number }, { edit }: Pick<Wish, "edit">): boolean =>
  edit?.mask !== undefined && (edit.picture.width !== size || edit.picture.height !== size);

async function* drawCanvas(
  model: Var,
  wish: Wish,
  signal: AbortSignal,
): AsyncGenerator<FromDrawer> {
  const { label, edit, drawing, seed, index, branches } = wish;
  const { picture, mask, keepScales, blend, feather } = edit!;
  const K = model.patchNums.length;
  const options = { ...drawing, label: labelOf(model, label), seed, first: index, branches };
  const steps = paintCanvas(model, picture, {
    ...options,
    mask: mask!,
    keepScales,
    blend,
    feather,
    signal,
  });
  let scale = 0;
  for await (const step of steps) {
    if (wish.scales || scale === K - 1) {
      const drawn = await toDrawn(step.picture, wish, {
        wish: 0,
        ids: new Int32Array(0),
        doubt: new Float32Array(0),
      });
      yield { kind: "scale", scale, of: K, side: model.patchNums[scale]!, drawn: [drawn] };
    }
    scale++;
  }
}

/** The class number as the sampler takes it: null is "no class". */
const labelOf = ({ config }: Var, label: number): number | null =>
  label === config.classes ? null : label;

async function prepare(model: Var, wish: Wish): Promise<Ready> {
  const { label, seed, index, drawing, branches, edit } = wish;
  const plain: Order = { label, seed, index, drawing, moreSmooth: false, branches };
  const options = { ...drawing, label: labelOf(model, label), seed, first: index, branches };
  const painting: Painting = !edit
    ? { orders: [plain], finish: (drawn) => drawn }
    : edit.mask
      ? await paintOrders(model, edit.picture, { ...options, ...edit, mask: edit.mask })
      : await varyOrders(model, edit.picture, { ...options, keepScales: edit.keepScales });
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
