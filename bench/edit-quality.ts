/**
 * In-painting by laying tokens down alone (teacher forcing, as the paper's code) beside our blending: how visible the seam
 * is, and how real the hole looks. `npx tsx bench/edit-quality.ts`. The same drawn pictures go through every blend.
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ImageDataset, pixelsOf } from "../src/data/index.ts";
import { openDataset } from "../src/data/open.ts";
import { compareSets, openNetwork, type PictureSet } from "../src/eval/index.ts";
import { concatBytes } from "../src/formats/bytes.ts";
import { pictureSize } from "../src/formats/picture-size.ts";
import { type Blend, blendInto, seamError } from "../src/image/edit/blend.ts";
import { type CanvasStep, extend, paintCanvas } from "../src/image/edit/canvas.ts";
import { paintOrders } from "../src/image/edit/edit.ts";
import { type Box, boxMask, type Mask } from "../src/image/edit/mask.ts";
import { resized } from "../src/image/edit/tokens.ts";
import type { Var } from "../src/image/model.ts";
import { loadVarFrom } from "../src/image/node.ts";
import { drawOrders } from "../src/image/sampler.ts";
import type { Picture } from "../src/image/sheet.ts";
import { host } from "./machine.ts";

const MODEL = "emoji64";
const NETWORK = "lab:emoji";
const [SIZE, TOGETHER, SEED] = [64, 16, 0];
const HOLES: Readonly<Record<string, Box>> = {
  "a quarter, in the middle": { left: 0.25, top: 0.25, right: 0.75, bottom: 0.75 },
  "the lower half": { left: 0, top: 0.5, right: 1, bottom: 1 },
  "a small box off the cells' grid": { left: 0.3, top: 0.2, right: 0.6, bottom: 0.5 },
};
interface Way {
  readonly name: string;
  readonly blend: Blend;
  readonly feather: number;
}
const WAYS: readonly Way[] = [
  { name: "teacher forcing alone", blend: "none", feather: 0 },
  { name: "kept pixels put back, hard edge", blend: "feather", feather: 0 },
  { name: "kept pixels put back, soft edge of 2 pixels", blend: "feather", feather: 2 },
  { name: "seamless, hard edge", blend: "seamless", feather: 0 },
  { name: "seamless, soft edge of 2 pixels (the default)", blend: "seamless", feather: 2 },
];

/** Edits through windows: pictures of another size than the model's, every way drawn anew. */
interface Through {
  readonly size: number;
  /** What is drawn. */
  readonly box: Box;
  readonly feathers: readonly number[];
  edit(picture: Picture, options: ThroughOptions): AsyncGenerator<CanvasStep>;
}
interface ThroughOptions {
  readonly mask: Mask;
  readonly feather: number;
  readonly label: string;
  readonly seed: number;
  readonly first: number;
}
const WINDOWS: Readonly<Record<string, Through>> = {
  "in-painting at 128 pixels, a quarter in the middle": {
    size: 128,
    box: { left: 0.25, top: 0.25, right: 0.75, bottom: 0.75 },
    feathers: [0, 2, 4],
    edit: (picture, options) => paintCanvas(model, picture, options),
  },
  "the left 48 columns of 64 extended by 16 to the right": {
    size: 64,
    box: { left: 0.75, top: 0, right: 1, bottom: 1 },
    feathers: [0, 1, 2],
    edit: (picture, { mask: _, ...options }) =>
      extend(model, columns(picture, 48), { ...options, right: 16 }),
  },
};
/** Pictures that are judged there: each takes a draw of its own. */
const FEWER = 128;

const pictureOf = (set: ImageDataset, i: number): Picture => {
  const data = Uint8Array.from(pixelsOf(set, i));
  const side = Math.sqrt(data.length / 3);
  return { width: side, height: side, channels: 3, data };
};
function columns({ width, height, data }: Picture, count: number): Picture {
  const out = new Uint8Array(count * height * 3);
  for (let y = 0; y < height; y++)
    out.set(data.subarray(y * width * 3, (y * width + count) * 3), y * count * 3);
  return { width: count, height, channels: 3, data: out };
}

/** What the model draws for the hole of every picture, before any blending. */
async function drawnHoles(model: Var, set: ImageDataset, mask: Mask): Promise<Picture[]> {
  const drawn: Picture[] = [];
  for (let at = 0; at < set.count; at += TOGETHER) {
    const orders = [];
    for (let i = at; i < Math.min(set.count, at + TOGETHER); i++) {
      const label = set.classes[set.label(i)]!;
      const painting = await paintOrders(model, pictureOf(set, i), {
        mask,
        label,
        seed: SEED,
        first: i,
      });
      orders.push(...painting.orders);
    }
    for await (const step of drawOrders(model, orders, { batch: TOGETHER }))
      if (step.scale === step.of - 1) drawn.push(...(await step.pictures()));
  }
  return drawn;
}

/** The inside of a hole, as large as a picture. */
function inside(picture: Picture, { left, top, right, bottom }: Box): Picture {
  const { width } = picture;
  const [x0, x1, y0, y1] = [left, right, top, bottom].map((share) => Math.round(share * width)) as [
    number,
    number,
    number,
    number,
  ];
  const data = new Uint8Array((x1 - x0) * (y1 - y0) * 3);
  for (let y = y0; y < y1; y++)
    data.set(
      picture.data.subarray((y * width + x0) * 3, (y * width + x1) * 3),
      (y - y0) * (x1 - x0) * 3,
    );
  return resized({ width: x1 - x0, height: y1 - y0, channels: 3, data }, SIZE, SIZE);
}
function setOf(pictures: readonly Picture[]): PictureSet {
  const pixels = concatBytes(pictures.map(({ data }) => data));
  return { count: pictures.length, ...pictureSize(SIZE), pixels };
}
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const model = await loadVarFrom(MODEL);
const groups = [...new Set(model.labels.map((label) => label.split("/")[0]!))];
const spec = `emoji:${groups.join(",")}`;
const test = await openDataset(spec, { size: SIZE, split: "test" });
const train = await openDataset(spec, { size: SIZE, split: "train" });
const network = await openNetwork(NETWORK);
const all = (set: ImageDataset) => Array.from({ length: set.count }, (_, i) => pictureOf(set, i));
const originals = all(test);

/** Seam and KID inside a box of pictures, against what real ones have there. */
const judgeOf =
  ({ mask, box, real }: { mask: Mask; box: Box; real: PictureSet }) =>
  async (name: string, pictures: readonly Picture[]) => {
    const set = setOf(pictures.map((picture) => inside(picture, box)));
    const kid = (await compareSets(set, real, { network, metrics: ["kid"] })).get("kid")!;
    const seam = mean(pictures.map((picture) => seamError(picture, mask)));
    return { name, seam, kid: kid.value!, interval: kid.interval! };
  };

const holes = [];
for (const [name, box] of Object.entries(HOLES)) {
  const mask = boxMask(box, { width: SIZE, height: SIZE });
  const drawn = await drawnHoles(model, test, mask);
  const real = setOf(all(train).map((picture) => inside(picture, box)));
  const judge = judgeOf({ mask, box, real });
  const rows = [await judge("the pictures themselves", originals)];
  for (const { name: title, blend, feather } of WAYS) {
    const blended = drawn.map((picture, i) =>
      blendInto(originals[i]!, picture, { mask, blend, feather }),
    );
    rows.push(await judge(title, blended));
    console.error(name, rows.at(-1));
  }
  holes.push({ name, box, rows });
}
for (const [name, { size, box, feathers, edit }] of Object.entries(WINDOWS)) {
  const mask = boxMask(box, { width: size, height: size });
  const [own, others] = await Promise.all(
    (["test", "train"] as const).map((split) => openDataset(spec, { size, split })),
  );
  const originals = all(own!).slice(0, FEWER);
  const real = setOf(all(others!).map((picture) => inside(picture, box)));
  const judge = judgeOf({ mask, box, real });
  const rows = [await judge("the pictures themselves", originals)];
  for (const feather of feathers) {
    const edited: Picture[] = [];
    for (const [i, picture] of originals.entries()) {
      const label = own!.classes[own!.label(i)]!;
      let last = picture;
      for await (const step of edit(picture, { mask, feather, label, seed: SEED, first: i }))
        last = step.picture;
      edited.push(last);
    }
    rows.push(await judge(`seamless, soft edge of ${feather} pixels`, edited));
    console.error(name, rows.at(-1));
  }
  holes.push({ name, box, rows });
}
await model.release();

const facts = {
  model: MODEL,
  network: NETWORK,
  pictures: test.count,
  reference: train.count,
  seed: SEED,
};
const date = new Date().toISOString().slice(0, 10);
const page = `# In-painting: the seam, and what is in the hole

The ${test.count} test pictures of ${MODEL}'s classes, a hole in each drawn anew with the picture's own class, seed ${SEED}. Seam: mean step
between neighbouring pixels across the hole's edge, in 8-bit values; the pictures' own is what an unseen seam has. KID: the
holes' insides, enlarged to ${SIZE} pixels and seen by ${NETWORK}, against those of the ${train.count} training pictures, with its 95 % interval. Every row
blends the same drawn pictures. "Teacher forcing alone" is the decoder's picture as it is: its kept part is only as good as
the tokenizer, so it has changed, too.

The last two are edits through windows, of the first ${FEWER} pictures: there every row is drawn anew with the same seeds.
${holes
  .map(
    ({ name, box, rows }) => `
## ${name} (${Object.values(box).join(", ")})

| way | seam | KID inside the hole |
|---|---|---|
${rows
  .map(
    (row) =>
      `| ${row.name} | ${row.seam.toFixed(1)} | ${row.kid.toFixed(4)} [${row.interval.map((v) => v.toFixed(4)).join(", ")}] |`,
  )
  .join("\n")}`,
  )
  .join("\n")}

${date}, ${Object.entries(host())
  .map(([key, value]) => `${key} ${value}`)
  .join(", ")}. \`npx tsx bench/edit-quality.ts\`
`;
const file = fileURLToPath(new URL("results/edit-quality.json", import.meta.url));
writeFileSync(file, `${JSON.stringify({ date, machine: host(), ...facts, holes }, null, 2)}\n`);
writeFileSync(file.replace(".json", ".md"), page);
console.log(page);
