/** `npm run embed -- --vqvae RUN --var RUN --out models/NAME`: two runs to one small model folder with its card. */

import { availableParallelism, cpus, totalmem } from "node:os";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openDataset } from "../src/data/open.ts";
import { InputError } from "../src/formats/errors.ts";
import type { SizeOption } from "../src/formats/picture-size.ts";
import type { VqvaeConfig } from "../src/image/config.ts";
import { imageSize } from "../src/image/scales.ts";
import { embedModel, type NamedData, readRun } from "../src/lab/index.ts";
import { openBackend } from "../src/tensor/backend.ts";

const USAGE = `npm run embed -- --vqvae RUN --var RUN --out models/emoji64
  --decoder RUN     train vqvae --from RUN --only decoder: its decoder takes the place of --vqvae's
  --before FOLDER   a model that this one stands beside in the card, drawn and judged from the same seeds
  --judge WORD      who judges both, as in eval --network; may be given again; default lab:emoji
  --vqvae-data WORD, --var-data WORD   the data sets, where run.json does not name them
  --samples N       samples whose nearest training pictures are looked for, default 128
  --guidance N --top-k N --top-p N --temperature N   how the model recommends to draw, and the card draws
  --seed N          chance of the card's samples
  --machine TEXT    where the runs were trained, default this machine`;

const { values: flags } = parseArgs({
  options: {
    vqvae: { type: "string" },
    decoder: { type: "string" },
    var: { type: "string" },
    before: { type: "string" },
    judge: { type: "string", multiple: true },
    out: { type: "string" },
    "vqvae-data": { type: "string" },
    "var-data": { type: "string" },
    samples: { type: "string" },
    seed: { type: "string" },
    guidance: { type: "string" },
    "top-k": { type: "string" },
    "top-p": { type: "string" },
    temperature: { type: "string" },
    machine: { type: "string" },
  },
});

/** A flag as a number; undefined where it is absent. */
function number(flag: Exclude<keyof typeof flags, "judge">): number | undefined {
  const text = flags[flag];
  if (text === undefined) return undefined;
  if (text.trim() === "" || !Number.isFinite(Number(text)))
    throw new InputError(`--${flag} ${JSON.stringify(text)}: want a number`);
  return Number(text);
}

/** Both splits of the data that a run learnt. */
async function open(run: string, word: string | undefined, size: SizeOption): Promise<NamedData> {
  if (word === undefined)
    throw new InputError(`${run}/run.json does not name the data; give --vqvae-data or --var-data`);
  const [train, test] = [
    await openDataset(word, { size, split: "train" }),
    await openDataset(word, { size, split: "test" }),
  ];
  return { word, train, test };
}

const thisMachine = (): string =>
  [
    `${cpus()[0]?.model.trim() ?? process.arch}`,
    `${availableParallelism()} threads`,
    `${Math.round(totalmem() / 2 ** 30)} GiB of memory`,
    `Node ${process.versions.node}`,
  ].join(", ");

async function main(): Promise<void> {
  const { vqvae, var: transformer, out } = flags;
  if (!vqvae || !transformer || !out)
    throw new InputError(`want --vqvae, --var and --out\n${USAGE}`);
  const first = await readRun(vqvae, "vqvae");
  const second = await readRun(transformer, "var");
  const size = imageSize(first.config as VqvaeConfig);
  const named = (recipe: typeof first.recipe) => recipe.data as string | undefined;
  const samples = number("samples");
  if (samples !== undefined && !(Number.isSafeInteger(samples) && samples > 0))
    throw new InputError(`--samples ${samples}: want a whole number from 1`);
  const begin = performance.now();
  for await (const { doing, files = [] } of embedModel({
    vqvaeRun: vqvae,
    decoderRun: flags.decoder,
    varRun: transformer,
    out,
    name: basename(resolve(out)),
    data: {
      tokenizer: await open(vqvae, flags["vqvae-data"] ?? named(first.recipe), size),
      transformer: await open(transformer, flags["var-data"] ?? named(second.recipe), size),
    },
    before: flags.before,
    judges: flags.judge,
    backend: await openBackend(),
    machine: flags.machine ?? thisMachine(),
    seed: number("seed"),
    drawing: {
      guidance: number("guidance"),
      topK: number("top-k"),
      topP: number("top-p"),
      temperature: number("temperature"),
    },
    samples,
  })) {
    console.error(`${((performance.now() - begin) / 1000).toFixed(0).padStart(5)} s  ${doing}`);
    for (const { name, bytes } of files) console.log(`${String(bytes).padStart(10)}  ${name}`);
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof InputError)) throw error;
  console.error(`embed: ${error.message}`);
  process.exitCode = 2;
}
