/** The drill at small size: what is done at every update is found, and honest runs are left in peace. */

import { beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../tensor/backend.ts";
import { ortNode } from "../../tensor/backends/ort-node.ts";
import { type DrillRow, drill } from "./drill.ts";
import { recordDrill } from "./records.ts";
import { drillRun } from "./run.ts";
import { SABOTAGES } from "./sabotages.ts";
import { cleanLine, drillTable } from "./table.ts";
import { createWorld, type World } from "./world.ts";

let world: World;
beforeAll(async () => {
  const inner = ortNode();
  const backend: Backend = {
    name: inner.name,
    compile: (graph, options) => inner.compile(graph, { threads: 1, ...options }),
  };
  world = await createWorld(backend, { depth: 1, steps: 100 });
});

const options = { onset: [10, 20], checks: 0.5 } as const;

test("an honest run raises no alarm", async () => {
  const { false: alarms, updates } = await drillRun(world, undefined, {
    ...options,
    seed: "clean",
  });
  expect({ alarms, updates }).toEqual({ alarms: [], updates: 100 });
});

describe.each(SABOTAGES.filter((s) => !/zeroed/.test(s.name)))("$group: $name", (sabotage) => {
  test("is found, by what it should be found by, and not before it begins", async () => {
    const outcome = await drillRun(world, sabotage, { ...options, seed: sabotage.name });
    expect(outcome.false).toEqual([]);
    expect(sabotage.seenBy).toContain(outcome.detected?.kind);
    if (!sabotage.checked) expect(outcome.delay).toBeLessThan(sabotage.every ?? 1);
  });
});

test("a sabotage that does nothing is not found, and the table says so", async () => {
  const idle = { ...SABOTAGES[0]!, hands: () => ({ between() {} }) };
  const outcome = await drillRun(world, idle, { ...options, seed: "idle" });
  expect(outcome.detected).toBeUndefined();
  expect(outcome.acted).toBeGreaterThan(50);
  const row: DrillRow = {
    ...{ group: "state", name: "idle", rate: 1, runs: 1, found: 0, expected: 1 },
    ...{ seenBy: {}, falseAlarms: 0 },
  };
  expect(drillTable([row])).toContain("| state: idle | 100 % | **0** of 1 | 100 % | - |");
});

test("rewritten histories and updates spoiled inside are found by verifying, witnesses and audits", async () => {
  const rows: DrillRow[] = [];
  for await (const row of recordDrill(world, { runs: 1, only: /^history|zeroed; 30 of/ }))
    rows.push(row);
  const found = rows.map(({ group, found, seenBy, falseAlarms }) => ({
    ...{ group, found, falseAlarms, by: Object.keys(seenBy)[0] },
  }));
  expect(found.slice(0, 4)).toEqual([
    { group: "history", found: 1, by: "verify", falseAlarms: 0 },
    { group: "history", found: 1, by: "witness", falseAlarms: 0 },
    // Nobody has vouched for what comes after the witnessed head.
    { group: "history", found: 0, by: undefined, falseAlarms: 0 },
    { group: "inside", found: 1, by: "audit", falseAlarms: 0 },
  ]);
});

test("the drill yields progress, clean runs and rows", async () => {
  const kinds = [];
  let row: DrillRow | undefined;
  let clean = "";
  const small = { runs: 2, clean: 1, rates: [1], only: /lr x 0.5/ };
  for await (const event of drill(world, small)) {
    kinds.push(event.kind);
    if (event.kind === "row") row = event.row;
    if (event.kind === "clean") clean = cleanLine(event.clean);
  }
  expect(kinds).toEqual(["progress", "clean", "progress", "progress", "row"]);
  expect(row).toMatchObject({ runs: 2, found: 2, expected: 1, delay: { median: 0, most: 0 } });
  expect(row).toMatchObject({ seenBy: { update: 2 }, falseAlarms: 0 });
  expect(clean).toBe("1 clean runs, 100 updates: false alarms none.");
});
