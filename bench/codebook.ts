/**
 * How much of their codebooks trained tokenizers use, scale by scale, with and without what keeps codes in use (k-means
 * start, revival, entropy term), and what that does to reconstructions. Trains nothing: it reads finished runs.
 *
 * npx tsx bench/codebook.ts --run NETWORK=PLAIN,KEPT [--run ...] [--figures]
 * where PLAIN and KEPT are folders of `train vqvae` on the same data; writes results/codebook.{json,md} and a figure each, with
 * --figures the figures alone.
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openDataset } from "../src/data/open.ts";
import { partOfDataset } from "../src/data/part.ts";
import { compareSets, openNetwork } from "../src/eval/index.ts";
import type { VqvaeConfig } from "../src/image/config.ts";
import { imageSize, mapText, mapTokens } from "../src/image/scales.ts";
import { trainCommand } from "../src/lab/command.ts";
import { figurePng } from "../src/lab/figure.node.ts";
import { type PlotSeries, studyPlot } from "../src/lab/study/plot.ts";
import { type CodeUse, codeUse, psnrOf, throughTokenizer } from "../src/lab/through.ts";
import { readRun, type TrainedRun } from "../src/lab/trained.node.ts";
import { openBackend } from "../src/tensor/backend.ts";
import { host } from "./machine.ts";

const { values } = parseArgs({
  options: { run: { type: "string", multiple: true }, figures: { type: "boolean" } },
});
/** Training pictures that rFID is measured on: as many as statistics of some hundred features need. */
const PICTURES = 4096;
/** Scales from this many tokens on must use half of the codes; coarser ones have few tokens to say it with. */
const [LEAST_TOKENS, LEAST_SHARE, LEAST_OVERALL] = [16, 0.5, 0.95];

type Run = TrainedRun<VqvaeConfig>;
interface Row {
  readonly title: string;
  readonly command: string;
  readonly updates: number;
  /** Of the test split's tokens. */
  readonly use: readonly CodeUse[];
  readonly psnr: number;
  readonly rFid: number;
}

const backend = await openBackend();
const last = ({ metrics }: Run): number => metrics.at(-1)?.step ?? 0;

async function measured(run: Run, title: string, network: string): Promise<Row> {
  const data = run.recipe.data as string;
  const size = imageSize(run.config);
  const test = await openDataset(data, { size, split: "test" });
  const train = partOfDataset(await openDataset(data, { size, split: "train" }), PICTURES);
  const through = await throughTokenizer(test, run, { backend });
  const { rebuilt } = await throughTokenizer(train, run, { backend });
  const judge = await openNetwork(network, { backend });
  const figures = await compareSets(rebuilt, train, { network: judge, metrics: ["fid"] });
  await judge.release();
  const place = { kind: "vqvae", data, run: `runs/${data}-${title}` } as const;
  return {
    ...{ title, command: trainCommand(run.recipe, place), updates: last(run) },
    ...{ use: codeUse(through.ids, run.config), psnr: psnrOf(through) },
    rFid: figures.get("fid")!.value!,
  };
}

/** Shares of codes that are in use while a run goes on, one line for each scale of enough tokens. */
function curves(run: Run, as: PlotSeries["as"]): PlotSeries[] {
  const scales = run.config.patchNums.filter((pn) => mapTokens(pn) >= LEAST_TOKENS);
  return scales.map((pn, i) => ({
    label: as === "line" ? `${mapText(pn)}, kept in use` : `${mapText(pn)}, plain`,
    points: run.metrics.flatMap((line) => {
      const y = line[`usage/${mapText(pn)}`];
      return y === undefined ? [] : [{ x: line.step!, y: 100 * y }];
    }),
    ...{ as, colour: i },
  }));
}

const results: { data: string; network: string; codes: number; rows: [Row, Row] }[] = [];
for (const word of values.run ?? []) {
  const [, network, before, after] = /^([^=]+)=([^,]+),(.+)$/.exec(word) ?? [];
  if (!network || !before || !after) throw new Error(`--run ${word}: want NETWORK=PLAIN,KEPT`);
  const [plain, kept] = [await readRun(before, "vqvae"), await readRun(after, "vqvae")];
  const data = kept.recipe.data as string;
  const svg = studyPlot([...curves(plain, "dashes"), ...curves(kept, "line")], {
    ...{ title: `${data}: codes in use`, x: "updates", y: "% of the codes" },
    key: "bottom-right",
  });
  writeFileSync(here(`results/codebook-${data}.svg`), svg);
  writeFileSync(here(`results/codebook-${data}.png`), await figurePng(svg));
  if (values.figures) continue;
  const rows: [Row, Row] = [
    await measured(plain, "plain", network),
    await measured(kept, "kept", network),
  ];
  results.push({ data, network, codes: kept.config.codes, rows });
}

function here(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url));
}
const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
const titleOf = ({ pn }: CodeUse): string => (pn === undefined ? "all scales" : mapText(pn));

function section({ data, network, codes, rows }: (typeof results)[number]): string {
  const [plain, kept] = rows;
  const wanted = kept.use.filter(({ pn }) => pn !== undefined && mapTokens(pn) >= LEAST_TOKENS);
  const holds =
    kept.use.at(-1)!.used / codes >= LEAST_OVERALL &&
    wanted.every(({ used }) => used / codes >= LEAST_SHARE);
  return `## ${data}

| | plain | kept in use |
| --- | --- | --- |
${kept.use
  .map((use, k) => {
    const cell = ({ used, perplexity }: CodeUse) =>
      `${percent(used / codes)}, perplexity ${perplexity.toFixed(0)}`;
    return `| ${titleOf(use)} | ${cell(plain.use[k]!)} | ${cell(use)} |`;
  })
  .join("\n")}
| PSNR, test split | ${plain.psnr.toFixed(2)} dB | ${kept.psnr.toFixed(2)} dB |
| rFID (${network}) | ${plain.rFid.toFixed(2)} | ${kept.rFid.toFixed(2)} |

${holds ? "Met" : "**Not met**"}: ${percent(LEAST_OVERALL)} of the codes overall and ${percent(LEAST_SHARE)} at every scale of at least ${LEAST_TOKENS} tokens.

![Codes in use during training](codebook-${data}.png)

${rows.map(({ title, command, updates }) => `${title}, ${updates} updates:\n\n\`\`\`sh\n${command}\n\`\`\``).join("\n\n")}`;
}

const [machine, date] = [host(), new Date().toISOString().slice(0, 10)];
const report = `# Codes in use

<!-- Written by bench/codebook.ts. Do not edit: run it again. -->

Two trainings of each data set, of the same seed and the same but for what keeps codes in use: "kept in use" starts the codebook by k-means at
update 100, puts codes that a scale is short of beside vectors that are badly served every 50 updates, and has an entropy
term; "plain" has none of them. Shares are of the codes that occur at all among the tokens of the test split, perplexity is
how many equally frequent codes would be as varied. rFID: ${PICTURES.toLocaleString("en")} training pictures at most against themselves rebuilt. The
figures show the share in use during training, over the run's moving window.

${results.map(section).join("\n\n")}

${date}, ${Object.entries(machine)
  .map(([key, value]) => `${key} ${value}`)
  .join(", ")}
`;
if (!values.figures) {
  writeFileSync(here("results/codebook.md"), report);
  writeFileSync(
    here("results/codebook.json"),
    `${JSON.stringify({ date, machine, results }, null, 2)}\n`,
  );
  console.log(report);
}
