/** Step times: a sleep is told from work and from waiting, whatever the machine does meanwhile. All clocks are made up. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { threadTimes } from "../../guard/sentinel/scheduler.node.ts";
import { rng } from "../../tensor/rng.ts";
import { watchPace } from "./pace.ts";
import type { Found } from "./update.ts";

/** Milliseconds of one update. */
interface Update {
  readonly work: number;
  readonly asleep?: number;
  readonly waiting?: number;
  /** Waiting of helping threads, for which the training thread sleeps. */
  readonly helpers?: number;
  /** How much slower the machine is. */
  readonly machine?: number;
}

/** Watches `count` updates. @returns what was found, with its update */
function watched(
  count: number,
  update: (step: number) => Update,
  { kernel = true }: { kernel?: boolean } = {},
) {
  const chance = rng("pace");
  let [now, busy, waited, helped, pace] = [0, 0, 0, 0, 1];
  const watch = watchPace({
    now: () => now,
    yard: () => 0.06 * pace * (1 + 0.03 * chance.normal()),
    times: kernel ? () => ({ busy, waiting: waited, helpers: helped }) : undefined,
  });
  const found: { step: number; kind: string; evidence: Found[1] }[] = [];
  for (let step = 1; step <= count; step++) {
    found.push(...watch.begin(step).map(([kind, evidence]) => ({ step, kind, evidence })));
    const { work, asleep = 0, waiting = 0, helpers = 0, machine = 1 } = update(step);
    pace = machine;
    const worked = work * machine * (1 + 0.03 * chance.normal());
    // The kernel's clocks and ours are read one after the other.
    const jitter = 0.02 * chance.uniform();
    now += worked + asleep + waiting + helpers + jitter;
    busy += worked;
    waited += waiting;
    helped += helpers;
    const phases = { data: 0.1, run: worked + asleep };
    found.push(
      ...watch.observe({ step, phases }).map(([kind, evidence]) => ({ step, kind, evidence })),
    );
    watch.end();
  }
  return found;
}

test("a sleep of 3 % in every update is found within ten updates, with the phase that grew", () => {
  const found = watched(400, (step) => ({ work: 10, asleep: step > 200 ? 0.3 : 0 }));
  expect(found).toHaveLength(1);
  expect(found[0]).toMatchObject({ kind: "step-time", evidence: { part: "asleep", phase: "run" } });
  expect(found[0]!.step).toBeLessThanOrEqual(210);
  expect(found[0]!.evidence.since).toBe(201);
});

test("rare sleeps are stalls", () => {
  const found = watched(700, (step) => ({
    work: 10,
    asleep: step > 200 && step % 10 === 0 ? 10 : 0,
  }));
  expect(found[0]).toMatchObject({ kind: "stalls" });
});

test("a machine that is slower by 40 % for a while is no alarm: the yardstick is slower too", () => {
  const busy = (step: number) => (step > 200 && step <= 300 ? 1.4 : 1 + 0.1 * Math.sin(step / 40));
  expect(watched(2000, (step) => ({ work: 10, machine: busy(step) }))).toEqual([]);
});

test("work that grows by half is an alarm, whether the kernel tells sleep from work or not", () => {
  for (const kernel of [true, false]) {
    const found = watched(400, (step) => ({ work: step > 200 ? 15 : 10 }), { kernel });
    expect(found[0]).toMatchObject({ kind: "step-time", evidence: { part: "working" } });
    expect(found[0]!.step).toBeLessThan(230);
  }
});

test("now and then waiting for a processor is no alarm; a third of the time is", () => {
  const chance = rng("waits");
  const rare = () => ({ work: 10, waiting: chance.uniform() < 0.02 ? 8 : 0 });
  expect(watched(1500, rare)).toEqual([]);
  const found = watched(400, (step) => ({ work: 10, waiting: step > 200 ? 5 : 0 }));
  expect(found[0]).toMatchObject({ kind: "step-time", evidence: { part: "waiting" } });
});

test("sleep until helping threads get a processor is not the run's", () => {
  const late = (step: number) => ({ work: 10, helpers: step % 9 === 0 ? 6 : 0 });
  expect(watched(1500, late)).toEqual([]);
});

test("the kernel's account is read from its files, and nothing is made of files that are not there", async () => {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-proc-"));
  try {
    expect(threadTimes(folder)).toBeUndefined();
    for (const [thread, line] of [
      ["7", "5000000 2000000 9"],
      ["8", "1000000 4000000 3"],
    ] as const) {
      await mkdir(join(folder, "task", thread), { recursive: true });
      await writeFile(join(folder, "task", thread, "schedstat"), `${line}\n`);
    }
    await writeFile(join(folder, "schedstat"), "5000000 2000000 9\n");
    expect(threadTimes(folder)!()).toEqual({ busy: 5, waiting: 2, helpers: 4 });
  } finally {
    await rm(folder, { recursive: true });
  }
});
