/** Replay: an honest run is the same bit by bit; a step that was tampered with inside is found and its tensor named. */

import { rm } from "node:fs/promises";
import { afterAll, describe, expect, test } from "vitest";
import { HANDS } from "../../test/hands.ts";
import {
  newRecordedRun,
  type RecordedRun,
  sketcher,
  sourceOf,
  trainRecorded,
} from "../../test/recorded-run.ts";
import { tinyTask } from "../../test/tiny-var.ts";
import { utf8 } from "../guard/sign/encoding.ts";
import { challenge, targets } from "./challenge.ts";
import { fastHash } from "./evidence.node.ts";
import type { Task } from "./loop.ts";
import { type Replayed, replay, replayLength } from "./replay.ts";

const STEPS = 12;
/** The step with which something is wrong. */
const BAD = 7;
const WEIGHT = "param.word_embed.weight";
const all = Array.from({ length: STEPS }, (_, i) => i + 1);
const runs: RecordedRun[] = [];
afterAll(async () => {
  for (const { folder } of runs) await rm(folder, { recursive: true, force: true });
});

/** A run whose trainer a hand was in; kept states after 5, 10 and 12. */
async function trained(hand?: (task: Task) => Task): Promise<RecordedRun> {
  const run = await newRecordedRun(STEPS, { open: (from) => tinyTask(STEPS, from) });
  runs.push(run);
  await trainRecorded(run, { hand, rootEvery: 3 });
  return run;
}

async function audit(run: RecordedRun, steps: readonly number[], withKey = true) {
  const found: Replayed[] = [];
  const options = { hash: fastHash, ...(withKey && { sketcher }) };
  for await (const step of replay(steps, await sourceOf(run), options)) found.push(step);
  return found;
}
const verdicts = (found: readonly Replayed[]) =>
  Object.fromEntries(found.map(({ step, verdict }) => [step, verdict]));

describe("an honest run", () => {
  const run = trained();

  test("is the same in every step", async () => {
    const found = await audit(await run, all);
    expect(found.map(({ step }) => step)).toEqual(all);
    expect(found.every(({ verdict }) => verdict === "same")).toBe(true);
    expect(found.at(-1)).toMatchObject({ done: STEPS, of: STEPS });
  });

  test("is done again from the nearest kept states only", async () => {
    const found = await audit(await run, [3, 7, 11]);
    expect(found.map(({ step }) => step)).toEqual([1, 2, 3, 6, 7, 11]);
    expect(found.filter(({ asked }) => asked).map(({ step }) => step)).toEqual([3, 7, 11]);
    expect(replayLength([3, 7, 11], [5, 10, 12])).toBe(6);
  });

  test("is judged only from where its ledger begins, or a state was kept", async () => {
    const { history, ...source } = await sourceOf(await run);
    const roots = new Map([...history.roots].filter(([step]) => step > 0));
    const found: Replayed[] = [];
    const later = { ...source, history: { ...history, roots } };
    for await (const s of replay([2, 6], later, { sketcher, hash: fastHash })) found.push(s);
    expect(verdicts(found)).toEqual({ 2: "unreachable", 6: "same" });
  });

  test("refuses steps that it did not do", async () => {
    await expect(audit(await run, [STEPS + 1])).rejects.toThrow(/has no update 13/);
  });
});

describe.each(Object.entries(HANDS))("with %s in step 7", (_, { hand, first }) => {
  const run = trained(hand(BAD));

  test("the audit finds step 7, names the tensor, and clears the others that can be reached", async () => {
    const found = await audit(await run, all);
    const wanted = Object.fromEntries(all.map((s) => [s, "same"]));
    // 8, 9 and 10 began from what step 7 left; from 10 a state was kept.
    for (const s of [8, 9, 10]) wanted[s] = "unreachable";
    expect(verdicts(found)).toEqual({ ...wanted, [BAD]: "different" });
    const bad = found.find(({ step }) => step === BAD)!;
    expect(bad.tensors.length).toBeGreaterThan(0);
    expect(bad.tensors[0]).toBe(first ?? bad.tensors[0]);
    if (first) expect(bad.tensors).toEqual([first]);
  });

  test("any challenge that has to pass through it finds it", async () => {
    for (const steps of [[7], [9], [10, 12]])
      expect((await audit(await run, steps)).find((s) => s.verdict === "different")?.step).toBe(
        BAD,
      );
  });

  test("without the key of sketches the next full root shows it", async () => {
    const found = await audit(await run, [9], false);
    expect(found.find((s) => s.verdict === "different")?.step).toBeGreaterThanOrEqual(BAD);
  });
});

test("a kept state that was edited is not believed", async () => {
  const run = await trained();
  const source = await sourceOf(run);
  const states = {
    steps: source.states.steps,
    async read(step: number) {
      const state = await source.states.read(step);
      if (step === 5) state.tensors.get(WEIGHT)!.data[0] = 1;
      return state;
    },
  };
  const found: Replayed[] = [];
  for await (const s of replay([6, 11], { ...source, states }, { sketcher, hash: fastHash }))
    found.push(s);
  expect(found.map(({ step, verdict }) => [step, verdict])).toEqual([
    [5, "different"],
    [6, "unreachable"],
    [11, "same"],
  ]);
});

describe("a challenge", () => {
  const steps = Array.from({ length: 1000 }, (_, i) => i + 1);
  const [secret, root] = [utf8("0123456789abcdef"), fastHash()];

  test("is what secret and head make it: rising, without repetition", () => {
    const drawn = challenge(steps, { secret, root, count: 20 });
    expect(drawn).toEqual([...new Set(drawn)].sort((a, b) => a - b));
    expect(drawn).toHaveLength(20);
    expect(challenge(steps, { secret, root, count: 20 })).toEqual(drawn);
    expect(challenge(steps, { secret: utf8("another secret!!"), root, count: 20 })).not.toEqual(
      drawn,
    );
    expect(challenge(steps, { secret, root: fastHash(root), count: 20 })).not.toEqual(drawn);
  });

  test("falls evenly", () => {
    const halves = [0, 0];
    for (let i = 0; i < 40; i++)
      for (const s of challenge(steps, { secret, root: fastHash(Uint8Array.of(i)), count: 20 }))
        halves[s > 500 ? 1 : 0]! += 1;
    // 800 draws: 4 sigma are 57.
    expect(Math.abs(halves[0]! - 400)).toBeLessThan(57);
  });

  test("takes all there are, and no secret that can be guessed", () => {
    expect(challenge([3, 4], { secret, root, count: 9 })).toEqual([3, 4]);
    expect(() => challenge(steps, { secret: utf8("short"), root, count: 1 })).toThrow(/guessed/);
  });
});

test("first, last, largest, resumed and alarmed steps are audited without being drawn", async () => {
  const { history } = await sourceOf(await trained());
  const found = targets({ ...history, resumed: [6], alarms: [9] });
  expect([found.get(1), found.get(STEPS)]).toEqual(["first update", "last update"]);
  for (const step of [6, 7, 8]) expect(found.get(step)).toBe("after a resume");
  for (const step of [9, 10]) expect(found.get(step)).toBe("beside an alarm");
  expect([...found.values()].filter((why) => why === "largest gradient").length).toBeGreaterThan(0);
});
