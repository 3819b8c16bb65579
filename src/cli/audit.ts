/** `underpaint audit RUN`: does steps of a run again and compares them bit by bit with its ledger. Trains nothing on. */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { treeRoot } from "../guard/ledger/merkle.ts";
import { openLedger } from "../guard/ledger/node.ts";
import { NOTE_TYPE, type NoteVerifier } from "../guard/ledger/note.ts";
import { type LedgerReader, readLedgerOn } from "../guard/ledger/reader.ts";
import { verifyLedgerOn } from "../guard/ledger/verify.ts";
import { fromHex, toHex } from "../guard/sign/encoding.ts";
import { createSketcher, type Sketcher } from "../guard/state/index.ts";
import { shellWord } from "../lab/shell-word.ts";
import { auditCommitment, challenge, targets } from "../train/challenge.ts";
import type { ClassifierRecipe } from "../train/classifier.ts";
import { codeManifest, fastHash, picturesRoot, tokensRoot } from "../train/evidence.node.ts";
import { type History, readHistory } from "../train/history.ts";
import { type Replayed, replay, replayLength } from "../train/replay.ts";
import { runIn } from "../train/run.node.ts";
import { storedStates } from "../train/states.node.ts";
import type { VqvaeRecipe } from "../train/vqvae-recipe.ts";
import { interruptible } from "./errors.ts";
import { listFlag, numberFlag } from "./flags.ts";
import { count, plural, table } from "./format.ts";
import { visible } from "./info.ts";
import { readKeyFile, readSmall, readVerifier } from "./key-files.ts";
import { ledgerDisk, logKey } from "./ledger-folder.ts";
import { progress } from "./progress.ts";
import { LEDGER_FILES } from "./run-ledger.ts";
import { collect } from "./sign.ts";
import type { Terminal } from "./terminal.ts";
import { classifierSource } from "./train-classifier.ts";
import { vqvaeSource } from "./train-vqvae.ts";
import type { RunKind, RunSource, SourceOptions } from "./training.ts";
import { type VarRunRecipe, varSource } from "./var-source.ts";

interface AuditFlags {
  readonly steps: number;
  readonly at?: readonly number[];
  readonly all: boolean;
  readonly targets: boolean;
  readonly secret?: string;
  readonly key?: string;
  readonly witness: readonly string[];
  readonly threads?: number;
  readonly record: boolean;
  readonly json: boolean;
}

export function addAudit(program: Command, terminal: Terminal): void {
  const command = program
    .command("audit")
    .description("Does steps of a run again, bit by bit, and names the first tensor that differs")
    .argument("<run>", "Folder of a run that was trained with its ledger")
    .option("--all", "Every step", false)
    .option("--no-targets", "Only the drawn steps, not first, last, largest, resumed and alarmed")
    .option("--secret <file>", "The secret the run is committed to; default audit.secret in it")
    .option("--key <file>", "The run's public key (PEM or vkey), which you have from elsewhere")
    .option("--witness <file>", "Verifier key of a witness; may be repeated", collect, [])
    .option("--record", "Write the result into the ledger, as who trains", false)
    .option("--json", "Print one JSON object per step on stdout", false)
    .addHelpText("after", "\nends with 0 where every step is the same, 1 where one differs");
  numberFlag(command, "--steps <n>", {
    sentence: "How many steps are drawn",
    min: 0,
    max: 1e6,
    fallback: 10,
  });
  listFlag(command, "--at <list>", { sentence: "These steps, too" });
  numberFlag(command, "--threads <n>", {
    sentence: "Processor threads, default as the run",
    min: 1,
    max: 1024,
  });
  command.action(async (run: string, flags: AuditFlags) => {
    process.exitCode = await interruptible((signal) => audit(terminal, run, { ...flags, signal }));
  });
}

type Job = AuditFlags & { readonly signal: AbortSignal };

async function audit(terminal: Terminal, run: string, flags: Job): Promise<number> {
  const { signal, json } = flags;
  const { reader, witnessed } = await verified(terminal, run, flags);
  const history = await readHistory(reader.records());
  if (history.steps.size === 0) throw new InputError(`${run}: its ledger has no step to audit`);
  const reasons = await chosenSteps(terminal, run, { flags, reader, history, witnessed });
  const steps = [...reasons.keys()].sort((a, b) => a - b);
  await sayCode(terminal, run, history);
  const states = await storedStates(run);
  const sketcher = await readSketcher(terminal, run, history);
  const sources = new Map<unknown, Promise<RunSource>>();
  const open: Parameters<typeof replay>[1]["open"] = async (config, checkpoint) => {
    if (!sources.has(config)) sources.set(config, sourceOf(terminal, run, { ...flags, config }));
    const source = await sources.get(config)!;
    checkData(run, source, history);
    return source.open(checkpoint);
  };
  const bar = progress(terminal, { of: replayLength(steps, states.steps), what: "doing again" });
  const found: Replayed[] = [];
  try {
    const options = { sketcher, hash: fastHash, signal };
    for await (const step of replay(steps, { history, states, open }, options)) {
      bar.update(step.done);
      if (!step.asked && step.verdict === "same") continue;
      found.push(step);
      bar.clear();
      const why = reasons.get(step.step) ?? "on the way";
      if (json) terminal.print(JSON.stringify({ ...step, why }));
      else terminal.print(visible(sentence(step, why)));
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    bar.clear();
  }
  return conclude(terminal, run, { found, record: flags.record });
}

/** What came of it, in words. @returns the exit code */
async function conclude(
  terminal: Terminal,
  run: string,
  { found, record }: { found: readonly Replayed[]; record: boolean },
): Promise<number> {
  const of = (verdict: Replayed["verdict"]) => found.filter((f) => f.verdict === verdict);
  const [same, different, lost] = [of("same"), of("different"), of("unreachable")];
  if (record) await writeDown(run, found);
  terminal.say(
    table(
      [
        ["same", count(same.length)],
        ["different", count(different.length)],
        ["not reachable", count(lost.length)],
      ],
      { right: [1] },
    ),
  );
  if (different.length === 0)
    terminal.say(
      `${run}: ${plural(same.length, "step")} bit for bit as the ledger says${lost.length > 0 ? ", the others nobody can judge" : ""}`,
    );
  else
    terminal.say(
      `${run}: step ${different[0]!.step} is the first that was not done as the ledger says; do not trust what came after`,
    );
  terminal.say(terminal.dim(`next: underpaint ledger show ${shellWord(run)} --kind step`));
  return different.length + lost.length > 0 ? 1 : 0;
}

function sentence({ step, verdict, differences, tensors }: Replayed, why: string): string {
  const what = {
    same: "same",
    different: "DIFFERENT",
    unreachable: "not reachable: no state was kept from which it can be done again",
  }[verdict];
  const first = tensors.length > 0 ? [`first tensor ${tensors[0]}`] : [];
  return [`step ${step} (${why}): ${what}`, ...differences, ...first].join("\n  ");
}

/** The ledger, whole and rightly signed. @throws InputError with the first thing that is not */
async function verified(terminal: Terminal, run: string, { key, witness, signal }: Job) {
  const disk = ledgerDisk(run);
  const log = await logKey(disk, key);
  const witnesses: NoteVerifier[] = [];
  for (const file of witness)
    witnesses.push(await readVerifier(file, { type: NOTE_TYPE.cosignature }));
  let witnessed = 0;
  const bar = progress(terminal, { of: 1, what: "verifying the ledger", shown: count });
  for await (const { problems, verdict } of verifyLedgerOn(disk, { log, witnesses, signal })) {
    const [first] = problems;
    if (first)
      throw new InputError(
        `${run}: its ledger does not verify: ${first.what}; see underpaint ledger verify ${run}`,
        { problems },
      );
    for (const { size } of verdict?.witnessed ?? []) witnessed = Math.max(witnessed, size);
  }
  bar.clear();
  return { reader: await readLedgerOn(disk, { log }), witnessed };
}

interface Choice {
  readonly flags: AuditFlags;
  readonly reader: LedgerReader;
  readonly history: History;
  readonly witnessed: number;
}

/** Steps to do again, each with the reason. */
async function chosenSteps(
  terminal: Terminal,
  run: string,
  { flags, reader, history, witnessed }: Choice,
): Promise<Map<number, string>> {
  const every = [...history.steps.keys()].sort((a, b) => a - b);
  if (flags.all) return new Map(every.map((step) => [step, "all"]));
  const reasons = flags.targets ? targets(history) : new Map<number, string>();
  for (const step of flags.at ?? []) reasons.set(step, "asked for");
  const size = witnessed || reader.head.size;
  if (!witnessed && flags.steps > 0)
    terminal.say(
      "no witness has signed this ledger (--witness): who wrote it could have tried many heads for a lucky draw",
    );
  const root = await treeRoot(reader.subtrees, size);
  const under = every.filter((step) => history.steps.get(step)!.index < size);
  const secret = await readSecret(terminal, run, { given: flags.secret, history });
  for (const step of challenge(under, { secret, root, count: flags.steps }))
    if (!reasons.has(step)) reasons.set(step, "drawn");
  return reasons;
}

/** The secret that the run is committed to; where nobody has one, fresh chance, which only the auditor can vouch for. */
async function readSecret(
  terminal: Terminal,
  run: string,
  { given, history }: { given?: string; history: History },
): Promise<Uint8Array> {
  const file = given ?? join(run, LEDGER_FILES.secret);
  if (!given && !existsSync(file)) {
    terminal.say("no secret is given (--secret): steps are drawn by this machine's chance");
    return new Uint8Array(randomBytes(32));
  }
  const secret = fromHex((await readSmall(file, "an audit secret")).trim(), file, 32);
  if (toHex(auditCommitment(secret)) !== history.start?.auditCommitment)
    throw new InputError(`${file}: this is not the secret that the run is committed to`, { file });
  return secret;
}

/** The run's key for sketches: with it every step can be judged, without it those with full roots. */
async function readSketcher(
  terminal: Terminal,
  run: string,
  history: History,
): Promise<Sketcher | undefined> {
  const file = join(run, LEDGER_FILES.sketch);
  if (!existsSync(file)) {
    terminal.say(`${file} is missing: only steps with a full root are compared by their state`);
    return undefined;
  }
  const key = fromHex((await readSmall(file, "a key of sketches")).trim(), file, 32);
  if (toHex(fastHash(key)) !== history.start?.sketchCommitment)
    throw new InputError(`${file}: this is not the key that the run is committed to`, { file });
  return createSketcher(key, fastHash);
}

/** Says where the code here is not the code of the run; the steps are done again all the same. */
async function sayCode(terminal: Terminal, run: string, { start }: History): Promise<void> {
  const file = join(run, LEDGER_FILES.folder, "blobs", String(start?.code));
  const text = existsSync(file) ? await readFile(file, "utf8") : "[]";
  if (toHex(fastHash(new TextEncoder().encode(text))) !== start?.code)
    return terminal.say(`${file} is missing or altered: which code the run had is not known`);
  const then = new Map<string, string>();
  for (const { name, sha256 } of JSON.parse(text) as { name: string; sha256: string }[])
    then.set(name, sha256);
  const other = (await codeManifest()).filter(({ name, sha256 }) => then.get(name) !== sha256);
  if (other.length > 0)
    terminal.say(
      `${plural(other.length, "file")} of this installation are not those of the run, first ${visible(other[0]!.name)}`,
    );
}

/** How a run of each kind is put together again. */
const SOURCES: Readonly<
  Record<
    RunKind,
    (t: Terminal, recipe: never, o: SourceOptions & { run: string }) => Promise<RunSource>
  >
> = {
  vqvae: (t, recipe: VqvaeRecipe & { data: string }, options) => vqvaeSource(t, recipe, options),
  classifier: (t, recipe: ClassifierRecipe, options) => classifierSource(t, recipe, options),
  var: (t, recipe: VarRunRecipe, options) =>
    varSource(t, recipe, { ...options, run: runIn(options.run) }),
};

async function sourceOf(
  terminal: Terminal,
  run: string,
  { config, threads, signal }: Job & { config: Readonly<Record<string, unknown>> },
): Promise<RunSource> {
  const { kind, recipe } = config as { kind: RunKind; recipe: never };
  const own = Object.hasOwn(SOURCES, kind) ? SOURCES[kind] : undefined;
  if (!own) throw new InputError(`${run}: a run of the kind "${kind}" cannot be done again`);
  return own(terminal, recipe, { threads: threads ?? Number(config.threads), signal, run });
}

/** @throws InputError where pictures or tokens are not those that the run is committed to */
function checkData(run: string, { data, tokens }: RunSource, { start }: History): void {
  if (picturesRoot(data.train) !== start?.dataRoot)
    throw new InputError(`${run}: the pictures are not those of the run; restore its data set`);
  if (tokens && tokensRoot(tokens) !== start?.tokensRoot)
    throw new InputError(
      `${run}: the tokens beside it are not those it began with; move tokens-train.safetensors away, so that they are computed again`,
    );
}

/** An audit entry, signed with the run's key. */
async function writeDown(run: string, found: readonly Replayed[]): Promise<void> {
  const key = await readKeyFile(join(run, LEDGER_FILES.key));
  const ledger = await openLedger(join(run, LEDGER_FILES.folder), { key, clock: Date.now });
  try {
    const bad = found.filter(({ verdict }) => verdict !== "same");
    await ledger.append({
      kind: "audit",
      facts: {
        steps: found.filter(({ asked }) => asked).map(({ step }) => step),
        verdict: bad.length === 0 ? "same" : bad[0]!.verdict,
        first: bad[0]?.step,
        differences: bad[0] && [...bad[0].differences],
        tensors: bad[0]?.tensors.slice(0, 20),
      },
    });
  } finally {
    await ledger.close();
  }
}
