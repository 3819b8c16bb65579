/** Drawing with VAR of depth 16, here and in PyTorch on the CPU, side by side on the same weights. How and why: README.md. */

import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readSafetensors, writeSafetensors } from "../src/formats/safetensors.ts";
import { fastestBatch } from "../src/image/memory.ts";
import { type PatchNum, scaleStarts } from "../src/image/scales.ts";
import { type Contestant, contestant, spread } from "./contest.ts";
import { type HashedModel, hashedModel } from "./hashed-model.ts";
import { fastEnv, machine, PYTHON } from "./machine.ts";
import { uniformsOf } from "./uniforms.ts";
import {
  type DrawAnswer,
  type DrawQuestion,
  type Job,
  PRECISIONS,
  stagesOf,
  THREADS,
  type WhyAnswer,
  type WhyQuestion,
} from "./var-d16-case.ts";
import {
  type Parity,
  type Result,
  type Side,
  type Split,
  sheet,
  table,
  verdicts,
} from "./var-d16-sheet.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const DEPTH = 16;
const SEED = 16;
/** As the released model is evaluated. */
const TIMED = { guidance: 1.5, topK: 900, topP: 0.96 };
const GREEDY = { ...TIMED, topK: 1, topP: 0 };
/** Classes of ImageNet that picture grids often show; a batch takes the first of them. */
const CLASSES = [980, 437, 22, 562, 207, 88, 360, 388];
/** Both runtimes' threads spin on for a while after a batch; the other side waits until they sleep. */
const PAUSE_MS = 60;
/** Ways to run PyTorch's decoder. */
const VARIANTS = ["contiguous", "channels_last", "compiled"];

/** Both sides shall read from the page cache. */
async function touch(files: readonly string[]): Promise<void> {
  for (const file of files) for await (const _ of createReadStream(file));
}

const torchOf = (job: string, variant: string) =>
  contestant(PYTHON, ["-B", here("peers/var_torch.py"), job, variant], { env: fastEnv });
const oursOf = (job: string) =>
  contestant(process.execPath, ["--import", "tsx", here("var-d16-worker.ts"), job]);

/** The decoder's fastest way: each in a process of its own, the second of two runs. */
async function bestVariant(job: string, given?: string) {
  const trials: Record<string, number> = {};
  for (const variant of given ? [] : VARIANTS) {
    const side = await torchOf(job, variant);
    await side.ask({ do: "decode" });
    trials[variant] = (await side.ask<{ ms: number }>({ do: "decode" })).ms;
    side.stop();
  }
  const fastest = Object.entries(trials).sort((a, b) => a[1] - b[1])[0]?.[0];
  return { variant: given ?? fastest!, trials };
}

type Ada = DrawQuestion["ada"];
interface Drawn {
  readonly answer: DrawAnswer;
  readonly images: Float32Array;
}

/** One side with the answers it gave. */
function player(side: Contestant, { classes, out }: { classes: readonly number[]; out: string }) {
  const timed: Record<Ada, DrawAnswer[]> = { once: [], each: [] };
  const ask = (how: typeof TIMED, more: { ada: Ada; out?: string }) =>
    side.ask<DrawAnswer>({ do: "draw", classes, ...how, ...more } satisfies DrawQuestion);
  return {
    side,
    timed,
    /** A batch whose pictures are kept. */
    async shown(how: typeof TIMED): Promise<Drawn> {
      const answer = await ask(how, { ada: "once", out });
      return {
        answer,
        images: readSafetensors(readFileSync(out)).tensors.get("images")!.data as Float32Array,
      };
    },
    async turn(ada: Ada): Promise<void> {
      await pause(PAUSE_MS);
      timed[ada].push(await ask(TIMED, { ada }));
    },
  };
}
type Player = ReturnType<typeof player>;

async function sideOf({ side, timed }: Player, firstMs: number, patchNums: readonly PatchNum[]) {
  const names = stagesOf(patchNums).map(([name]) => name);
  const stages = names.map((name) => [name, spread(timed.once.map((a) => a.stages[name] ?? 0))]);
  const memory = await side.ask<{ peak: number; compileMs?: number }>({ do: "memory" });
  return {
    total: spread(timed.once.map((a) => a.ms)),
    stages: Object.fromEntries(stages) as Side["stages"],
    loadMs: side.facts.loadMs as number,
    firstMs,
    peakBytes: memory.peak,
    compileMs: memory.compileMs ?? 0,
  };
}

function parityOf(a: Drawn, b: Drawn): Parity {
  const B = a.answer.ids.length;
  const size = a.images.length / B;
  const parity = { equal: 0, of: 0, image: null as number | null };
  for (let i = 0; i < B; i++) {
    const [mine, theirs] = [a.answer.ids[i]!, b.answer.ids[i]!];
    const equal = mine.filter((id, t) => id === theirs[t]).length;
    parity.equal += equal;
    parity.of += mine.length;
    if (equal !== mine.length) continue;
    parity.image ??= 0;
    for (let p = i * size; p < (i + 1) * size; p++)
      parity.image = Math.max(parity.image, Math.abs(a.images[p]! - b.images[p]!));
  }
  return parity;
}

/** The first token of each picture that differs, and how near to a tie it was. */
async function splitsOf(
  side: Player,
  { ours, torch, classes }: { ours: Drawn; torch: Drawn; classes: readonly number[] },
  patchNums: readonly PatchNum[],
): Promise<Split[]> {
  const starts = scaleStarts(patchNums);
  const splits: Split[] = [];
  for (const [picture, mine] of ours.answer.ids.entries()) {
    const theirs = torch.answer.ids[picture]!;
    const at = mine.findIndex((id, t) => id !== theirs[t]);
    if (at < 0) continue;
    const scale = starts.findLastIndex((start) => start <= at);
    const token = at - starts[scale]!;
    const place = { picture, scale, token, ours: mine[at]!, theirs: theirs[at]! };
    const question: WhyQuestion = { do: "why", classes, ...TIMED, ...place };
    splits.push({ ...place, ...(await side.side.ask<WhyAnswer>(question)) });
  }
  return splits;
}

/** What kept PyTorch from its best: 14 to 16 s for a picture were seen that way, instead of 4. */
function doubtsOf({ openblas, blasFile, tuned, threads }: Record<string, unknown>): string[] {
  const doubts: string[] = [];
  if (!String(openblas).includes("USE_OPENMP"))
    doubts.push(
      `its matrix products come from ${blasFile} (${openblas}), whose threads fight its own; install libopenblas0-openmp`,
    );
  if ("OPENBLAS_CORETYPE" in (tuned as object)) doubts.push("OPENBLAS_CORETYPE is set; unset it");
  if (threads !== THREADS) doubts.push(`it ran ${threads} threads instead of ${THREADS}`);
  return doubts;
}

interface Settings {
  readonly batch: number;
  readonly rounds: number;
  readonly precision: string;
  readonly only?: string;
  readonly variant?: string;
}

async function compare(model: HashedModel, settings: Settings): Promise<Result> {
  const { batch, rounds, precision, only } = settings;
  const { patchNums } = model.config;
  const folder = mkdtempSync(join(tmpdir(), "var-d16-bench-"));
  const open: Contestant[] = [];
  try {
    const uniforms = join(folder, "uniforms.safetensors");
    writeFileSync(
      uniforms,
      writeSafetensors(new Map([["uniforms", uniformsOf({ seed: SEED, batch, patchNums })]])),
    );
    const { load } = PRECISIONS[precision]!;
    const { var: transformer, vqvae } = model;
    const job: Job = {
      var: transformer,
      vqvae,
      uniforms,
      patchNums,
      threads: THREADS,
      seed: SEED,
      load,
    };
    const path = join(folder, "job.json");
    writeFileSync(path, JSON.stringify(job));
    await touch([transformer, vqvae]);

    const classes = Array.from({ length: batch }, (_, i) => CLASSES[i % CLASSES.length]!);
    const seat = async (side: Promise<Contestant>) => {
      open.push(await side);
      return player(open.at(-1)!, { classes, out: join(folder, "out.safetensors") });
    };
    const best = only === "ours" ? undefined : await bestVariant(path, settings.variant);
    const theirs = best && (await seat(torchOf(path, best.variant)));
    const ours = only === "torch" ? undefined : await seat(oursOf(path));

    const greedy = { ours: await ours?.shown(GREEDY), torch: await theirs?.shown(GREEDY) };
    const drawn = { ours: await ours?.shown(TIMED), torch: await theirs?.shown(TIMED) };
    for (let i = 0; i < rounds; i++) {
      await ours?.turn("once");
      await theirs?.turn("once");
      await theirs?.turn("each");
    }
    // In 8 bits nearly every picture parts somewhere.
    const both = precision === "fp32" && drawn.ours && drawn.torch;
    const pair = both && { ours: drawn.ours!, torch: drawn.torch!, classes };
    const splits = pair ? await splitsOf(ours!, pair, patchNums) : undefined;
    const common = { batch, precision, patchNums, rounds, settings: { ...TIMED, seed: SEED } };
    const times = (ada: Ada) => theirs?.timed[ada].map((a) => a.ms) ?? [];
    const ratios = (ada: Ada) =>
      ours && theirs && spread(times(ada).map((ms, i) => ms / ours.timed.once[i]!.ms));
    return {
      ...common,
      date: new Date().toISOString().slice(0, 10),
      ours: ours && (await sideOf(ours, greedy.ours!.answer.ms, patchNums)),
      torch: theirs && {
        ...(await sideOf(theirs, greedy.torch!.answer.ms, patchNums)),
        ...best,
        released: spread(times("each")),
        doubts: doubtsOf(theirs.side.facts),
      },
      ratio: ratios("once"),
      releasedRatio: ratios("each"),
      parity:
        ours && theirs
          ? {
              greedy: parityOf(greedy.ours!, greedy.torch!),
              drawn: parityOf(drawn.ours!, drawn.torch!),
            }
          : undefined,
      splits,
      machine: {
        ...machine(theirs?.side.facts ?? {}),
        tuned: JSON.stringify(theirs?.side.facts.tuned ?? {}),
      },
    };
  } finally {
    for (const side of open) side.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    batch: { type: "string", multiple: true, default: ["1", "8"] },
    rounds: { type: "string", default: "5" },
    precision: { type: "string", default: "fp32" },
    only: { type: "string" },
    variant: { type: "string" },
    folder: { type: "string", default: join(tmpdir(), "underpaint-var-d16") },
    keep: { type: "boolean", default: false },
    dry: { type: "boolean", default: false },
  },
});
const { precision, only, variant, folder } = values;
if (!(precision in PRECISIONS))
  throw new Error(`no precision "${precision}"; use ${Object.keys(PRECISIONS).join(", ")}`);
if (only !== undefined && only !== "ours" && only !== "torch")
  throw new Error(`--only "${only}" is no side; use ours or torch`);

const path = here("results/var-d16.json");
const old = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Result[]) : [];
const key = (r: Pick<Result, "batch" | "precision">) => `${r.precision} ${r.batch}`;
const results = new Map(old.map((r) => [key(r), r]));
const model = await hashedModel(folder, DEPTH);
try {
  for (const batch of values.batch.map(Number)) {
    const rounds = Number(values.rounds);
    const result = await compare(model, { batch, rounds, precision, only, variant });
    if (rounds > 0)
      console.log(
        `\nbatch ${batch}, ${precision}\n\n${table(result)}\n\n${verdicts(result).join("\n")}`,
      );
    // Without rounds: our memory and what both drew, beside times of before.
    const { date, ours, parity, splits } = result;
    const before = results.get(key(result));
    if (rounds === 0 && ours && before && !values.dry) {
      const together = Math.min(batch, fastestBatch(model));
      const peakAgain = { date, bytes: ours.peakBytes, together };
      results.set(key(result), { ...before, peakAgain, ...(parity && { parity, splits }) });
    }
    // Half a comparison would overwrite a whole one.
    if (!only && rounds > 0 && !values.dry) results.set(key(result), result);
  }
} finally {
  if (!values.keep) for (const file of model.made) rmSync(file, { force: true });
}
if ((!only || Number(values.rounds) === 0) && !values.dry) {
  const order = Object.keys(PRECISIONS);
  const all = [...results.values()].sort(
    (a, b) => a.batch - b.batch || order.indexOf(a.precision) - order.indexOf(b.precision),
  );
  writeFileSync(path, `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(here("results/var-d16.md"), sheet(all));
}
