/** Sheets that show what a model can do: reconstructions, samples by class group, scales, nearest training pictures. */

import type { ImageDataset } from "../data/index.ts";
import { concatBytes } from "../formats/bytes.ts";
import { pictureSize } from "../formats/picture-size.ts";
import type { Var } from "../image/model.ts";
import type { SampleOptions } from "../image/orders.ts";
import { generate, sample } from "../image/sampler.ts";
import { type Picture, sheet } from "../image/sheet.ts";
import type { Nearest, Pictures } from "./nearest.ts";

/** Where a sheet's chance comes from and what stops it; guidance and filters are those the model recommends. */
export type Chance = Pick<SampleOptions, "seed" | "signal">;

/** Picture i of a set. */
export function pictureAt({ width, height, pixels }: Pictures, i: number): Picture {
  const bytes = width * height * 3;
  const data = pixels.subarray(i * bytes, (i + 1) * bytes);
  return { width, height, channels: 3, data };
}

/** Pictures of one size as a set. */
export function asPictures(list: readonly Picture[]): Pictures {
  const { width, height } = list[0] ?? pictureSize(0);
  return { count: list.length, width, height, pixels: concatBytes(list.map(({ data }) => data)) };
}

/** `n` whole numbers from 0 to below `count`, evenly spread; all of them where there are fewer. */
export const spreadOver = (count: number, n: number): number[] =>
  Array.from({ length: Math.min(n, count) }, (_, i) =>
    Math.floor((i * count) / Math.min(n, count)),
  );

/** The pictures with these numbers as a set. */
export const chosen = (from: Pictures, indices: readonly number[]): Pictures =>
  asPictures(indices.map((i) => pictureAt(from, i)));

/** Rows of one kind above rows of another, in turn: `rows[r][c]`, cut into pieces of `columns`. */
function stacked(rows: readonly (readonly Picture[])[], columns: number): Picture[] {
  const out: Picture[] = [];
  for (let at = 0; at < (rows[0]?.length ?? 0); at += columns)
    for (const row of rows) out.push(...row.slice(at, at + columns));
  return out;
}

/** The same rows of samples from two models, the older above the newer. */
export const besideSheet = (
  before: readonly Picture[],
  now: readonly Picture[],
  { columns, zoom = 2 }: { columns: number; zoom?: number },
): Picture => sheet(stacked([before, now], columns), { columns, zoom });

/** Pictures over their reconstructions, spread over the set; whole rows only. */
export function reconstructionSheet(
  pictures: Pictures,
  rebuilt: Pictures,
  { columns = 16, rows = 3 }: { columns?: number; rows?: number } = {},
): Picture {
  const width = Math.min(columns, pictures.count);
  const most = Math.min(rows, Math.floor(pictures.count / width)) * width;
  const indices = spreadOver(pictures.count, most);
  const of = (set: Pictures) => indices.map((i) => pictureAt(set, i));
  return sheet(stacked([of(pictures), of(rebuilt)], width), { columns: width });
}

/** What class names have in common before the slash, the one with most pictures first; whole names without slashes. */
export function classGroups(data: Pick<ImageDataset, "classes" | "count" | "label">): string[] {
  const groupOf = (name: string) => name.split("/")[0]!;
  const sizes = new Map(data.classes.map((name) => [groupOf(name), 0]));
  for (let i = 0; i < data.count; i++) {
    const group = groupOf(data.classes[data.label(i)]!);
    sizes.set(group, sizes.get(group)! + 1);
  }
  return [...sizes].sort(([, a], [, b]) => b - a).map(([group]) => group);
}

/** Samples in rows, each of one label, as `underpaint sample LABEL --count N` draws them. */
export async function drawRows(
  model: Var,
  labels: readonly string[],
  { columns = 8, ...options }: Chance & { columns?: number } = {},
): Promise<{ rows: Picture[]; strips: Picture[] }> {
  const [rows, strips]: [Picture[], Picture[]] = [[], []];
  for (const label of labels) {
    let last: Picture[] = [];
    for await (const step of sample(model, { ...options, label, count: columns })) {
      last = await step.pictures();
      strips.push(last[0]!);
    }
    rows.push(...last);
  }
  return { rows, strips };
}

/** One sample of each label. */
export async function drawLabels(
  model: Var,
  labels: readonly number[],
  options: Chance,
): Promise<Pictures> {
  const pictures: Picture[] = [];
  for await (const { picture } of generate(model, { ...options, labels })) pictures.push(picture);
  return asPictures(pictures);
}

/** Which samples a nearest-neighbour sheet shows: the nearest ones of all, then some spread over all distances. */
export function shownNearest(distance: Float64Array, columns: number, rows: number): number[] {
  const order = Array.from(distance.keys()).sort((a, b) => distance[a]! - distance[b]!);
  const rest = order.slice(columns);
  return [
    ...order.slice(0, columns),
    ...spreadOver(rest.length, columns * (rows - 1)).map((i) => rest[i]!),
  ];
}

/**
 * Samples, below each its nearest training picture in pixels, below that the nearest in features; first the samples
 * that are nearest of all.
 * @param train the pictures that `nearest` numbers
 */
export function nearestSheet(
  samples: Pictures,
  train: Pictures,
  { pixels, features }: { pixels: Nearest; features: Nearest },
  { columns = 8, rows = 3, zoom = 2 }: { columns?: number; rows?: number; zoom?: number } = {},
): Picture {
  const width = Math.min(columns, samples.count);
  const indices = shownNearest(features.distance, width, rows);
  const neighbour = ({ index }: Nearest) => indices.map((i) => pictureAt(train, index[i]!));
  const own = indices.map((i) => pictureAt(samples, i));
  const all = stacked([own, neighbour(pixels), neighbour(features)], width);
  return sheet(all, { columns: width, zoom });
}
