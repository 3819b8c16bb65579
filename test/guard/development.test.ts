/** The scanner and the loader on the shared development split: every payload found, no false alarm, nothing loads that must not. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { expect, test } from "vitest";
import { readPth } from "../../src/formats/index.ts";
import { pthScene } from "../../src/formats/pth-rules.ts";
import { loadModel, scanSource } from "../../src/guard/scan/index.ts";
import { allowList } from "../../src/guard/scan/names.ts";
import { sharedTest } from "../shared.ts";

interface Entry {
  readonly file: string;
  readonly label: "malicious" | "benign" | "corrupt";
  readonly tier: "core" | "extended";
  readonly expect_scan: "flag" | "clean" | "any";
  readonly expect_load: "load" | "refuse" | "any";
}

interface Expected {
  readonly kind: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

const MANIFEST = "fixtures/guard/manifest.json";
const ORACLE = "fixtures/guard/oracle.json";

function entriesOf(manifest: string): (Entry & { bytes: Uint8Array })[] {
  const { entries } = JSON.parse(readFileSync(manifest, "utf8")) as { entries: Entry[] };
  return entries
    .map((entry) => ({ entry, path: join(dirname(manifest), entry.file) }))
    .filter(({ path }) => existsSync(path))
    .map(({ entry, path }) => ({ ...entry, bytes: readFileSync(path) }));
}

sharedTest(
  "every malicious file is flagged and no clean one is",
  MANIFEST,
  async (manifest) => {
    const wrong: string[] = [];
    const entries = entriesOf(manifest!);
    expect(entries.length).toBeGreaterThan(250);
    for (const { file, bytes, expect_scan } of entries) {
      const { verdict } = await scanSource(bytes, { name: basename(file) });
      const flagged = verdict === "malicious" || verdict === "suspicious";
      if (expect_scan === "flag" && !flagged) wrong.push(`${file} is ${verdict}`);
      if (expect_scan === "clean" && verdict !== "clean") wrong.push(`${file} is ${verdict}`);
    }
    expect(wrong).toEqual([]);
  },
  { timeout: 300_000 },
);

sharedTest(
  "what must load loads as the oracle says, what must be refused is",
  [MANIFEST, ORACLE],
  async (manifest, oracle) => {
    const known = JSON.parse(readFileSync(oracle!, "utf8")) as Record<
      string,
      Record<string, Expected>
    >;
    const wrong: string[] = [];
    let compared = 0;
    for (const { file, bytes, expect_load } of entriesOf(manifest!)) {
      const loaded = await loadModel(bytes, { name: basename(file) }).catch(() => undefined);
      if (expect_load === "load" && !loaded) wrong.push(`${file} does not load`);
      if (expect_load === "refuse" && loaded) wrong.push(`${file} loads`);
      if (!loaded || expect_load !== "load") continue;
      for (const [path, { dtype, shape, sha256 }] of Object.entries(known[file] ?? {})) {
        const array = loaded.arrays.get(path);
        const hash = array && createHash("sha256").update(array.bytes).digest("hex");
        const same =
          array?.dtype === dtype && String(array.shape) === String(shape) && hash === sha256;
        if (!same) wrong.push(`${file}${path} differs`);
        compared++;
      }
    }
    expect(wrong).toEqual([]);
    expect(compared).toBeGreaterThan(30);
  },
  { timeout: 300_000 },
);

test("the names of the checkpoint reader are names of the scanner", () => {
  const { rules } = allowList();
  for (const name of pthScene().rules.globals.keys()) expect(rules.has(name), name).toBe(true);
});

sharedTest(
  "whatever the checkpoint reader loads, scans clean",
  MANIFEST,
  async (manifest) => {
    let loaded = 0;
    for (const { file, bytes } of entriesOf(manifest!)) {
      const read = await readPth(bytes).catch(() => undefined);
      if (!read) continue;
      loaded++;
      const { verdict } = await scanSource(bytes, { name: basename(file) });
      expect(verdict, file).toBe("clean");
    }
    expect(loaded).toBeGreaterThan(5);
  },
  { timeout: 300_000 },
);
