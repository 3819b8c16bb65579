/** Sabotages that only the record of a run shows: histories rewritten, updates spoiled inside, processes killed. */

import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Disk, type MemoryDisk, memoryDisk } from "../../guard/ledger/disk.ts";
import type { Facts, Kind } from "../../guard/ledger/entry.ts";
import { openLedgerOn } from "../../guard/ledger/ledger.ts";
import { folderDisk } from "../../guard/ledger/node.ts";
import { readLedgerOn } from "../../guard/ledger/reader.ts";
import { verifyLedgerOn } from "../../guard/ledger/verify.ts";
import { addCheckpoint, requestFor, type WitnessState, watch } from "../../guard/ledger/witness.ts";
import { generateKey, type PrivateKey } from "../../guard/sign/keys.ts";
import { type Rng, rng } from "../../tensor/rng.ts";
import { challenge } from "../../train/challenge.ts";
import { fastHash } from "../../train/evidence.node.ts";
import { readHistory } from "../../train/history.ts";
import { replay } from "../../train/replay.ts";
import { storedStates } from "../../train/states.node.ts";
import type { DrillRow } from "./drill.ts";
import { spoiledBackend } from "./engine.ts";
import { KEEP_EVERY, openVar, recordRun, SKETCHER } from "./recorded.ts";
import { layerZeroed } from "./sabotages.ts";
import type { World } from "./world.ts";

export interface RecordOptions {
  readonly runs: number;
  /** Only sabotages whose "group: name" fits. */
  readonly only?: RegExp;
  readonly seed?: string;
  readonly signal?: AbortSignal;
  /** Starts a process that trains `world` into a folder with `recordRun`, printing a line for each update. */
  readonly victim?: (folder: string) => ChildProcess;
}

interface Result {
  readonly found: boolean;
  /** What should have been seen by the design, 0 to 1. */
  readonly expected: number;
  readonly falseAlarms?: number;
}

interface Case {
  readonly group: string;
  readonly name: string;
  readonly rate?: number;
  readonly seenBy: string;
  run(world: World, place: { chance: Rng; folder: string } & RecordOptions): Promise<Result>;
}

/** Updates of a recorded run, and those of them that an audit does again. */
const [STEPS, AUDITED] = [100, 30];

/** Trains with a ledger in memory; a witness signs the head at the checkpoint of update `at`. */
async function witnessed(world: World, folder: string, at: number) {
  const [disk, key, by] = [memoryDisk(), await generateKey(), await generateKey()];
  let state: WitnessState = new Map();
  const ask = async (of: Disk) => {
    const reader = await readLedgerOn(of);
    state = state.size ? state : watch(state, reader.log);
    const request = await requestFor(reader, state.get(reader.log.name)!.size);
    const answer = await addCheckpoint(state, request, { signer: by, name: "witness", time: 1 });
    state = answer.state ?? state;
    return answer.status;
  };
  const witness = {
    name: "witness",
    checkpoint: async ({ step }: { step: number }) => {
      if (step === at) await ask(disk);
    },
  };
  await recordRun(world, { folder, disk, key, steps: STEPS, watchers: [witness] });
  return { disk, key, ask, size: () => [...state.values()][0]!.size };
}

/** The same history, signed anew with the run's own key, but for one number in one entry. */
async function rewritten(disk: Disk, key: PrivateKey, at: number): Promise<MemoryDisk> {
  const reader = await readLedgerOn(disk);
  const forged = memoryDisk();
  let time = 0;
  const ledger = await openLedgerOn(forged, { key, origin: reader.log.name, clock: () => time });
  for await (const { index, kind, facts, subjects, time: when } of reader.records()) {
    time = when ?? 0;
    const said = index === at ? { ...facts, wallTime: 1 } : facts;
    // Without subjects of its own an entry is about the run, which its ledger fills in.
    const own = Object.keys(subjects)[0] === reader.log.name ? undefined : subjects;
    await ledger.append({ kind: kind as Kind, facts: said as Facts, subjects: own });
  }
  await ledger.close();
  return forged;
}

const problemsOf = async (disk: Disk): Promise<number> => {
  let count = 0;
  for await (const { problems } of verifyLedgerOn(disk)) count = problems.length;
  return count;
};

/** Flips one bit of the journal or of a tile. */
function flipBit(disk: MemoryDisk, chance: Rng): void {
  const paths = [...disk.files.keys()].filter((path) => /^journal$|^tile\//.test(path)).sort();
  const path = paths[chance.int(paths.length)]!;
  const bytes = disk.files.get(path)!;
  const at = chance.int(bytes.length);
  disk.files.set(path, bytes.with(at, bytes[at]! ^ (1 << chance.int(8))));
}

const history =
  (where: "below" | "above") =>
  async (world: World, { chance, folder }: { chance: Rng; folder: string }): Promise<Result> => {
    const at = KEEP_EVERY * (2 + chance.int(STEPS / KEEP_EVERY - 4));
    const { disk, key, ask, size } = await witnessed(world, folder, at);
    const { head } = await readLedgerOn(disk);
    const [from, to] = where === "below" ? [1, size()] : [size(), head.size - 1];
    const forged = await rewritten(disk, key, from + chance.int(to - from));
    const honest = await ask(forged);
    return { found: honest !== 200, expected: where === "below" ? 1 : 0 };
  };

/** Trains with some updates spoiled, then does drawn updates again on an honest engine. */
const audited =
  (rate: number) =>
  async (
    world: World,
    { chance, folder, signal }: { chance: Rng; folder: string } & RecordOptions,
  ) => {
    const draws = chance.child("acts");
    const bad = new Set<number>();
    // One at least: a run without any is an honest one.
    bad.add(1 + chance.int(STEPS));
    for (let s = 1; s <= STEPS; s++) if (draws.uniform() < rate) bad.add(s);
    const hands = layerZeroed({ chance: chance.child("hands"), params: world.params });
    let step = 0;
    const engine = spoiledBackend(world.backend, () =>
      bad.has(step) ? hands.engine!() : undefined,
    );
    const disk = memoryDisk();
    await recordRun(world, {
      ...{ folder, disk, key: await generateKey(), steps: STEPS, backend: engine },
      onStep: (now) => {
        step = now;
      },
    });
    const reader = await readLedgerOn(disk);
    const ledger = await readHistory(reader.records());
    const secret = new Uint8Array(32).fill(chance.int(256));
    const asked = challenge([...ledger.steps.keys()], {
      ...{ secret, root: reader.head.root, count: AUDITED },
    });
    // The same graph with its dials at rest: what differs is only what the saboteur did.
    const honest = { ...world, backend: spoiledBackend(world.backend, () => undefined) };
    const source = {
      history: ledger,
      states: await storedStates(folder),
      open: (_: unknown, checkpoint?: Parameters<typeof openVar>[1]["checkpoint"]) =>
        openVar(honest, { steps: STEPS, checkpoint }),
    };
    let [found, falseAlarms] = [false, 0];
    for await (const { step: at, verdict } of replay(asked, source, {
      ...{ sketcher: SKETCHER, hash: fastHash, signal },
    }))
      if (verdict === "different") {
        if (bad.has(at)) found = true;
        else falseAlarms++;
      }
    return { found, falseAlarms, expected: 1 - (1 - bad.size / STEPS) ** AUDITED };
  };

const CASES: readonly Case[] = [
  {
    ...{ group: "history", name: "one bit of the ledger flipped on disk", seenBy: "verify" },
    async run(world, { chance, folder }) {
      const disk = memoryDisk();
      await recordRun(world, { folder, disk, key: await generateKey(), steps: STEPS });
      const falseAlarms = await problemsOf(disk);
      flipBit(disk, chance);
      return { found: (await problemsOf(disk)) > 0, expected: 1, falseAlarms };
    },
  },
  {
    ...{ group: "history", name: "rewritten with the run's key, before the witnessed head" },
    ...{ seenBy: "witness", run: history("below") },
  },
  {
    ...{ group: "history", name: "rewritten with the run's key, after the witnessed head" },
    ...{ seenBy: "witness", run: history("above") },
  },
  ...[0.1, 0.02, 0].map(
    (rate): Case => ({
      group: "inside",
      name: `one layer's gradient zeroed${rate ? "" : ", in one update"}; ${AUDITED} of ${STEPS} updates audited`,
      ...(rate && { rate }),
      ...{ seenBy: "audit", run: audited(rate) },
    }),
  ),
  {
    ...{ group: "process", name: "killed by signal 9, in a process of its own", seenBy: "gap" },
    async run(world, { chance, folder, victim }) {
      await killed(victim!(folder), chance.uniform() * 1500);
      const kinds: string[] = [];
      const disk = folderDisk(join(folder, "ledger"));
      await recordRun(world, { folder, disk, steps: STEPS, until: 1, alarms: kinds });
      return { found: kinds[0] === "gap", expected: 1, falseAlarms: Math.max(0, kinds.length - 1) };
    },
  },
];

/** Kills a trainer some milliseconds after its first update. */
function killed(child: ChildProcess, after: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    child.stdout!.on("data", () => {
      timer ??= setTimeout(() => child.kill("SIGKILL"), after);
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (signal === "SIGKILL") resolve();
      else reject(new Error(`the trainer ended by itself with ${code}`));
    });
  });
}

/** Runs every case so many times; rows as they are ready. */
export async function* recordDrill(world: World, options: RecordOptions): AsyncGenerator<DrillRow> {
  const { runs, only = /./, seed = "records", signal, victim } = options;
  for (const { group, name, rate, seenBy, run } of CASES) {
    if ((group === "process" && !victim) || !only.test(`${group}: ${name}`)) continue;
    const results: Result[] = [];
    for (let i = 0; i < runs; i++) {
      signal?.throwIfAborted();
      const folder = await mkdtemp(join(tmpdir(), "underpaint-drill-"));
      try {
        const chance = rng("drill").child(`${seed} ${group} ${name} ${i}`);
        results.push(await run(world, { ...options, chance, folder }));
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    }
    const found = results.filter((r) => r.found).length;
    yield {
      ...{ group, name, rate, runs, found },
      expected: results.reduce((sum, r) => sum + r.expected, 0) / runs,
      seenBy: found > 0 ? { [seenBy]: found } : {},
      falseAlarms: results.reduce((sum, r) => sum + (r.falseAlarms ?? 0), 0),
    };
  }
}
