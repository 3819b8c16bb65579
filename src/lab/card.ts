/** The model card: measured facts in, Markdown out. Measures nothing and reads no files. */

import type { Attribution } from "../data/index.ts";
import type { PictureSize } from "../formats/picture-size.ts";
import { mapText, type PatchNum, scalesText } from "../image/scales.ts";
import type { Beside, Verdict } from "./beside.ts";
import type { CurveFigure } from "./curves.ts";
import type { Effort } from "./metrics.ts";
import type { Closeness } from "./nearest.ts";
import type { CodeUse } from "./through.ts";

/** What a training tells of itself. */
interface Training {
  /** The data set's word, its pictures by split, and its classes. */
  readonly data: { word: string; train: number; test: number; classes: number };
  readonly recipe: readonly (readonly [string, string])[];
  readonly command: string;
  /** Settings that the command does not tell. */
  readonly untold: readonly string[];
  readonly effort: Effort;
  /** Updates that the recipe asks for; the run may have been cut short. */
  readonly planned: number;
  /** Pictures per update. */
  readonly batch: number;
  /** What the perceptual term looked through, where there was one. */
  readonly network: { readonly name: string; readonly hash: string } | undefined;
  readonly curves: readonly CurveFigure[];
}

/** What both halves of a model tell of themselves. */
interface Half extends Training {
  readonly file: string;
  readonly bytes: number;
  readonly parameters: number;
}

export interface LossFacts {
  readonly loss: number;
  readonly lastLoss: number;
  readonly accuracy: number;
  readonly pictures: number;
}

export interface NearestFacts {
  /** What the distance is between. */
  readonly space: string;
  readonly samples: Closeness;
  readonly test: Closeness;
  readonly copies: Closeness;
}

export interface CardFacts {
  readonly name: string;
  /** Of the pictures, in pixels. */
  readonly size: PictureSize;
  readonly patchNums: readonly PatchNum[];
  readonly codes: number;
  readonly classes: readonly string[];
  readonly attribution: readonly Attribution[];
  readonly tokenizer: Half & {
    readonly psnr: { train: number; test: number };
    readonly use: readonly CodeUse[];
  };
  /** The training of the tokenizer's decoder alone, where there was one. */
  readonly decoder?: Training | undefined;
  readonly transformer: Half & {
    readonly test: LossFacts;
    readonly train: LossFacts;
  };
  /** The stored model beside the trained one. */
  readonly stored: {
    readonly sameTokens: number;
    readonly psnr: { before: number; after: number };
    readonly sameLikeliest: number;
    readonly loss: { before: number; after: number };
  };
  /** The model whose place this one takes, where there was one. */
  readonly beside?: Beside | undefined;
  readonly nearest: readonly NearestFacts[];
  /** Mirrored training pictures were looked at, too. */
  readonly mirrored: boolean;
  /** Labels of the rows of the sample sheet, and the words that draw them again. */
  readonly rows: readonly string[];
  readonly columns: number;
  /** How many of the rows are shown scale by scale. */
  readonly strips: number;
  /** How the model recommends to draw, in words. */
  readonly drawing: string;
  /** The flag that names the chance of the samples; empty for the default. */
  readonly seed: string;
  readonly machine: string;
}

/** 12345 -> "12,345". */
const whole = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;
const db = (value: number): string => `${value.toFixed(2)} dB`;
const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/** Seconds, and hours where they are easier to grasp. */
const time = (seconds: number): string =>
  seconds < 3600
    ? `${whole(seconds)} s`
    : `${whole(seconds)} s (${(seconds / 3600).toFixed(1)} hours)`;

type Cells = readonly string[];
const table = (head: Cells, rows: readonly Cells[]): string =>
  [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
    .join("\n");

const figures = (half: string, curves: readonly CurveFigure[]): string =>
  curves.map(({ name, title }) => `![${title}](${half}-${name}.svg)`).join("\n\n");

const code = (lines: readonly string[]): string => `\`\`\`sh\n${lines.join("\n")}\n\`\`\``;

/** The whole card. */
export const modelCard = (facts: CardFacts): string =>
  `${[
    introduction(facts),
    samples(facts),
    ...(facts.beside ? [beside(facts.beside, facts)] : []),
    classes(facts),
    data(facts),
    tokenizer(facts),
    transformer(facts),
    novelty(facts),
    storage(facts),
    recipe(facts),
    limits(facts),
  ].join("\n\n")}\n`;

const introduction = ({ name, size, patchNums, codes, tokenizer, transformer }: CardFacts) =>
  `# ${name}

<!-- Written by scripts/embed-model.ts, every number by measurement. Do not edit: run it again. -->

A VAR model that draws pictures of ${size.width} x ${size.height} pixels from a class name. A tokenizer (multi-scale VQVAE, ${whole(tokenizer.parameters)} parameters) turns a picture into token maps of sides ${scalesText(patchNums)} with ${whole(codes)} codes; a transformer (${whole(transformer.parameters)} parameters) predicts each map from the coarser ones and the class. Method: Tian et al. 2024, Visual Autoregressive Modeling, arXiv 2404.02905.

${table(
  ["file", "holds", "stored as", "size"],
  [
    [`\`${tokenizer.file}\``, "tokenizer", "float16", mb(tokenizer.bytes)],
    [
      `\`${transformer.file}\``,
      "transformer",
      "int8 with a scale per row, float16, float32",
      mb(transformer.bytes),
    ],
  ],
)}`;

const samples = ({ name, rows, columns, drawing, seed, strips }: CardFacts) => `## Samples

![${rows.length * columns} samples](samples.png)

${rows.length * columns} samples, one row each of ${rows.join(", ")}. They were not picked by hand; these commands draw them again, as the model recommends it (${drawing}):

${code(rows.map((row) => `npx underpaint sample ${row} --model ${name} --count ${columns}${seed} --sheet ${row.replaceAll("/", "-")}.png`))}

The first samples of ${rows.slice(0, strips).join(", ")}, after every scale:

![The same picture after every scale](scales.png)`;

const beside = (
  { samples, reference, verdicts }: Beside,
  { rows, columns, tokenizer, decoder }: CardFacts,
) => `## Beside the model before

![The same samples from the model before and from this one](beside.png)

The ${rows.length * columns} samples above once more, each row below the one that the model before draws from the same seeds.

Judged: ${whole(samples)} samples of either, from the same seeds and with the classes of the training pictures, against all ${whole(reference)} of these. KID with a 95 % jackknife interval. *Fell by*: KID before less KID now, the two pictures of a seed left out together; above zero, this model is nearer to the data.

${table(
  ["judge", "KID·1000 before", "KID·1000 now", "fell by", "FID before", "FID now"],
  verdicts.map(({ judge, hash, kid, gain, fid }) => [
    `\`${judge.split("/").at(-1)}\` (${hash})${hash === (decoder ?? tokenizer).network?.hash ? ", which the decoder learnt to please" : ""}`,
    ...[kid.before, kid.now, gain].map(thousandths),
    ...(fid ? [fid.before.toFixed(2), fid.now.toFixed(2)] : ["", ""]),
  ]),
)}`;

const thousandths = ({ value, interval: [low, high] }: Verdict["gain"]): string => {
  const [middle, from, to] = [value, low, high].map((x) => (1000 * x).toFixed(2));
  return `${middle} (${from} to ${to})`;
};

function classes({ classes }: CardFacts): string {
  const parts = classes.map((name) => name.split("/"));
  const grid = parts.every((part) => part.length === 2);
  const first = [...new Set(parts.map(([group]) => group!))];
  const second = [...new Set(parts.map(([, style]) => style!))];
  const list = grid
    ? `${classes.length} classes, written \`category/style\`. Categories: ${first.join(", ")}. Styles: ${second.join(", ")}. A category or a style alone means any class it is a part of.`
    : `${classes.length} classes: ${classes.join(", ")}.`;
  return `## Classes\n\n${list}\n\nOne sample of each class, in this order from left to right and top to bottom:\n\n![One sample of each class](classes.png)`;
}

const data = ({ attribution, tokenizer, transformer, size }: CardFacts) => `## Data and licences

${table(
  ["trained", "data set", "classes", "pictures to learn", "pictures to test"],
  [
    ["tokenizer", tokenizer.data],
    ["transformer", transformer.data],
  ].map(([what, of]) => {
    const { word, classes, train, test } = of as Half["data"];
    return [what as string, `\`${word}\``, whole(classes), whole(train), whole(test)];
  }),
)}

The pictures come from these sources. They are not part of this package; they were resized to ${size.width} x ${size.height} pixels on white and randomly varied for training.

${
  attribution.length > 0
    ? table(
        ["source", "licence", "address"],
        attribution.map(({ name, licence, url }) => [name, licence, url]),
      )
    : "The data set names no sources."
}

The full attributions and licence texts are in [NOTICE](../../NOTICE). Pictures of one concept are all in one split: what the test split shows was never learnt, in any class.`;

const tokenizer = ({
  tokenizer: { psnr, use, data, curves },
  decoder,
  codes,
}: CardFacts) => `## Tokenizer

Reconstruction: **PSNR ${db(psnr.test)} on the test split** (${whole(data.test)} pictures), ${db(psnr.train)} on the training split, from the mean squared error over all pictures.

![Test pictures over their reconstructions](reconstructions.png)

Test pictures, below each row their reconstructions.

Use of the codebook on the training split. Perplexity is the number of equally frequent codes that would be as varied.

${table(
  ["scale", "tokens", "codes that occur", "share", "perplexity"],
  use.map(({ pn, tokens, used, perplexity }) => [
    pn === undefined ? "all" : mapText(pn),
    whole(tokens),
    whole(used),
    percent(used / codes),
    perplexity.toFixed(1),
  ]),
)}

${figures("tokenizer", curves)}
${decoder ? `\nThen its decoder alone, so that the transformer's tokens stay what they are:\n\n${figures("decoder", decoder.curves)}\n` : ""}
Lines are means of neighbouring updates, bands hold the middle 80 %.`;

const transformer = ({ transformer: { test, train, curves }, codes }: CardFacts) => `## Transformer

Cross-entropy in nats per token with all coarser scales given; guessing would be ln ${whole(codes)} = ${Math.log(codes).toFixed(2)}. The stored files were measured.

${table(
  ["split", "pictures", "loss", "loss of the last scale", "likeliest code is the true one"],
  [["test", test] as const, ["train, not varied", train] as const].map(([split, facts]) => [
    split,
    whole(facts.pictures),
    facts.loss.toFixed(3),
    facts.lastLoss.toFixed(3),
    percent(facts.accuracy),
  ]),
)}

${figures("transformer", curves)}`;

const novelty = ({ nearest, mirrored }: CardFacts) => `## Are samples copies?

For each of ${whole(nearest[0]?.samples.count ?? 0)} samples, with the classes of the test pictures, the nearest training picture was looked for${mirrored ? ", mirrored ones too" : ""}. Distances mean something only beside others, so the same was done with test pictures, which the model never saw, and with training pictures themselves, as a model that copies would draw them; both after one passage through the tokenizer, as samples have. The last column is the share that is nearer to a training picture than 95 % of the test pictures are: about 5 % where nothing is copied.

${table(
  ["distance in", "pictures", "number", "10th percentile", "median", "suspiciously near"],
  nearest.flatMap(({ space, ...sets }) =>
    (
      [
        ["samples", sets.samples],
        ["test pictures", sets.test],
        ["training pictures", sets.copies],
      ] as const
    ).map(([what, { count, p10, median, suspicious }]) => [
      space,
      what,
      whole(count),
      p10.toFixed(4),
      median.toFixed(4),
      percent(suspicious),
    ]),
  ),
)}

![Samples, their nearest training pictures in pixels, and in features](nearest.png)

In threes of rows: samples; the nearest training picture in pixels; the nearest in features. The first three rows show the samples that are nearest of all.`;

const storage = ({ stored: { sameTokens, psnr, sameLikeliest, loss } }: CardFacts) => `## Storage

What rounding to small storage changed, on the test split of the transformer's data:

${table(
  ["", "as trained", "as stored", "the same"],
  [
    ["tokens of the tokenizer", "", "", percent(sameTokens, 2)],
    ["reconstruction, PSNR", db(psnr.before), db(psnr.after), ""],
    ["likeliest code of the transformer", "", "", percent(sameLikeliest, 2)],
    ["loss of the transformer, nats per token", loss.before.toFixed(4), loss.after.toFixed(4), ""],
  ],
)}`;

function recipe({ tokenizer, decoder, transformer, machine }: CardFacts): string {
  const trainings: readonly (readonly [string, Training])[] = [
    ["tokenizer", tokenizer],
    ...(decoder ? [["its decoder alone", decoder] as const] : []),
    ["transformer", transformer],
  ];
  const untold = trainings.filter(([, training]) => training.untold.length > 0);
  const strangers = trainings.flatMap(([, { network }]) =>
    network?.name.endsWith(".onnx") ? [network] : [],
  );
  const settings = trainings.flatMap(([, training]) => training.recipe.map(([key]) => key));
  return `## Recipe

${table(
  ["", "updates", "pictures per update", "pictures seen", "time in updates"],
  trainings.map(([what, { effort, batch, planned }]) => [
    what,
    effort.steps < planned ? `${whole(effort.steps)} of ${whole(planned)}` : whole(effort.steps),
    whole(batch),
    whole(effort.steps * batch),
    time(effort.seconds),
  ]),
)}

Machine: ${machine}.

${code(trainings.map(([, { command }]) => command))}
${untold.map(([what, training]) => `\nNo flag sets these of the ${what}: ${training.untold.join(", ")}.\n`).join("")}
${strangers.map(({ name, hash }) => `\n\`${name}\` (${hash}), which the perceptual term looks through, is not part of this package.\n`).join("")}
Every setting:

${table(
  ["setting", ...trainings.map(([what]) => what)],
  [...new Set(settings)].map((key) => [
    `\`${key}\``,
    ...trainings.map(([, training]) => training.recipe.find(([k]) => k === key)?.[1] ?? ""),
  ]),
)}`;
}

const limits = ({ size, attribution, classes }: CardFacts) => `## Use and limits

Meant for trying Underpaint, for tests, lessons and small decorations. It knows ${plural(classes.length)} and nothing else: no text, no photographs, no size but ${size.width} x ${size.height} pixels. Its data set is small, so samples may look like pictures it learnt, as measured above; fine detail is limited by the tokenizer's PSNR. Do not present samples as official emoji${attribution.length > 0 ? ` of ${attribution.map(({ name }) => name.split(",")[0]).join(", ")}` : ""}. Pictures of people carry the choices of those who drew them.`;

const plural = (n: number): string => (n === 1 ? "1 class" : `${whole(n)} classes`);
