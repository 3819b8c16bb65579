/** The scanner and its loader on random and mutated input: no throw but InputError, budgets kept, evil stays found. */

import { expect, test } from "vitest";
import { InputError } from "../../src/formats/index.ts";
import { loadModel, scanSource, VERDICTS } from "../../src/guard/scan/index.ts";
import { generator, input, SEEDS } from "./fuzz.ts";
import { join, text, zip } from "./samples.ts";

const limits = { maxOps: 200_000, maxUnpacked: 2 ** 20, maxFindings: 20, maxParts: 200 };

test("5,000 random and mutated files: a verdict for each, within its budgets", async () => {
  const random = generator(20261122);
  for (let i = 0; i < 5000; i++) {
    const { name, bytes } = input(random);
    const report = await scanSource(bytes, { name, limits });
    expect(VERDICTS).toContain(report.verdict);
    expect(report.findings.length).toBeLessThanOrEqual(limits.maxFindings);
  }
}, 300_000);

test("1,000 mutated files: the loader refuses with InputError, and loads only what scans clean", async () => {
  const random = generator(7);
  for (let i = 0; i < 1000; i++) {
    const { name, bytes } = input(random);
    const loaded = await loadModel(bytes, { name }).catch((error: unknown) => {
      if (error instanceof InputError) return undefined;
      throw error;
    });
    if (loaded) expect((await scanSource(bytes, { name })).verdict).toBe("clean");
  }
}, 300_000);

const EVIL = text("\x80\x04cos\nsystem\n\x8c\x04true\x85R.");

test("a payload stays found inside every container and behind every honest pickle", async () => {
  const honest = text("\x80\x02}.");
  const wraps: readonly ((b: Uint8Array) => Uint8Array)[] = [
    (b) => zip([["a/b.bin", b]]),
    (b) => zip([["a.zip", zip([["b", b]])]]),
    (b) =>
      zip([
        ["x/data.pkl", honest],
        ["x/data/0", b],
      ]),
    (b) => join([honest, b]),
    (b) => join([b, zip([["a", honest]])]),
    (b) => join([zip([["a", honest]]), zip([["b", b]])]),
    (b) => join([zip([["b", b]]), zip([["a", honest]])]),
    (b) => join([honest, text("\xff\xfe junk"), b]),
    (b) => b.subarray(0, b.length - 1),
    (b) => join([b.subarray(0, b.length - 1), text("\xff")]),
  ];
  for (const [i, outer] of wraps.entries())
    for (const [j, inner] of wraps.entries()) {
      const report = await scanSource(outer(inner(EVIL)), { name: "m.pt" });
      expect(["malicious", "suspicious"], `wrap ${i} of ${j}`).toContain(report.verdict);
    }
});

test("every seed that is meant to be evil is", async () => {
  const evil = [
    "c.pkl",
    "f.zip",
    "i.gguf",
    "tokenizer_config.json",
    "l.yaml",
    "m.json",
    "n.tar",
    "p.h5",
    "saved_model.pb",
  ];
  for (const [name, bytes] of SEEDS)
    if (evil.includes(name))
      expect((await scanSource(bytes, { name })).verdict, name).toBe("malicious");
});
