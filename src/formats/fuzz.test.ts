/**
 * Damaged checkpoints: whatever is changed in pickle, directory or header, a file gives tensors or one sentence of why
 * not, in short time. UNDERPAINT_FUZZ says how many mutations are tried; 2,000 unless it is set.
 */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Rng, rng } from "../tensor/rng.ts";
import { memorySource } from "./bytes.ts";
import type { Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { readWeights } from "./lazy.ts";
import { lazyPth, readPth } from "./pth.ts";
import {
  lazySafetensors,
  readSafetensors,
  readSafetensorsHeader,
  writeSafetensors,
} from "./safetensors.ts";
import { lazyShardedSafetensors, readSafetensorsIndex } from "./safetensors-index.ts";

const MUTATIONS = Number(process.env.UNDERPAINT_FUZZ ?? 2000);
/** Seconds one reading may take, on a machine that does much else. */
const PATIENCE = 20;

/** One change; files are small, so that most changes hit what describes the data. */
const MUTATORS: readonly ((bytes: Uint8Array, chance: Rng) => Uint8Array)[] = [
  (bytes, chance) => set(bytes, chance, (old) => old ^ (1 << chance.int(8))),
  (bytes, chance) => set(bytes, chance, () => chance.int(256)),
  (bytes, chance) => set(bytes, chance, () => [0, 1, 0x7f, 0x80, 0xfe, 0xff][chance.int(6)]!),
  (bytes, chance) => set(bytes, chance, (old) => old + 1 - 2 * chance.int(2)),
  (bytes, chance) => bytes.slice(0, chance.int(bytes.length)),
  (bytes, chance) => {
    const [from, to] = range(bytes, chance);
    return joined(bytes.subarray(0, from), bytes.subarray(to));
  },
  (bytes, chance) => {
    const [from, to] = range(bytes, chance);
    const at = chance.int(bytes.length);
    return joined(bytes.subarray(0, at), bytes.subarray(from, to), bytes.subarray(at));
  },
  (bytes, chance) => {
    const [from, to] = range(bytes, chance);
    return bytes.slice().copyWithin(chance.int(bytes.length), from, to);
  },
  (bytes, chance) => {
    const out = bytes.slice();
    const at = chance.int(Math.max(1, bytes.length - 8));
    const large = [0xffffffffn, 0x7fffffffn, 2n ** 63n - 1n, 2n ** 64n - 1n, 2n ** 40n, 0n];
    const width = [2, 4, 8][chance.int(3)]!;
    let value = large[chance.int(large.length)]!;
    for (let i = at; i < Math.min(at + width, out.length); i++, value >>= 8n)
      out[i] = Number(value & 255n);
    return out;
  },
];

function set(bytes: Uint8Array, chance: Rng, to: (old: number) => number): Uint8Array {
  const out = bytes.slice();
  const at = chance.int(bytes.length);
  out[at] = to(out[at]!);
  return out;
}

function range(bytes: Uint8Array, chance: Rng): [number, number] {
  const from = chance.int(bytes.length);
  return [from, Math.min(bytes.length, from + 1 + chance.int(64))];
}

const joined = (...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(Buffer.concat(parts));

function mutated(bytes: Uint8Array, chance: Rng): Uint8Array {
  let out = bytes;
  for (let n = 1 + chance.int(3); n > 0 && out.length > 0; n--)
    out = MUTATORS[chance.int(MUTATORS.length)]!(out, chance);
  return out;
}

type Tensors = ReadonlyMap<string, Tensor>;

/** A file, and the ways to read it; all ways must agree on what can be read. */
interface Subject {
  readonly bytes: Uint8Array;
  readonly readings: readonly ((bytes: Uint8Array) => Promise<Tensors>)[];
}

const all = (weights: Parameters<typeof readWeights>[0]) =>
  readWeights(weights) as Promise<Tensors>;
const PTH: Subject["readings"] = [
  async (bytes) => (await readPth(bytes)).tensors,
  async (bytes) => all((await lazyPth(memorySource(bytes))).tensors),
];
const small = writeSafetensors(
  new Map<string, Tensor>([
    ["a.weight", { dtype: "float32", shape: [2, 3], data: new Float32Array(6) }],
    ["flags", { dtype: "bool", shape: [3], data: Uint8Array.of(0, 1, 1) }],
    ["empty", { dtype: "int64", shape: [0, 4], data: new BigInt64Array(0) }],
  ]),
  { metadata: { note: "é" } },
);
const fixture = (name: string): Uint8Array =>
  new Uint8Array(
    readFileSync(fileURLToPath(new URL(`../../test/fixtures/var/${name}`, import.meta.url))),
  );
const index = {
  metadata: {
    total_size: small.length - 8 - Number(new DataView(small.buffer).getBigUint64(0, true)),
  },
  weight_map: { "a.weight": "s.safetensors", flags: "s.safetensors", empty: "s.safetensors" },
};

const SUBJECTS: Readonly<Record<string, Subject>> = {
  "a zip .pth": { bytes: fixture("mini_zip.pth"), readings: PTH },
  "a legacy .pth": { bytes: fixture("mini_legacy.pth"), readings: PTH },
  "a safetensors file": {
    bytes: small,
    readings: [
      async (bytes) => readSafetensors(bytes).tensors,
      async (bytes) => {
        const source = memorySource(bytes);
        return all(lazySafetensors(source, await readSafetensorsHeader(source)));
      },
    ],
  },
  "a safetensors index": {
    bytes: new TextEncoder().encode(JSON.stringify(index)),
    readings: [
      async (bytes) => {
        const open = async () => memorySource(small);
        return all((await lazyShardedSafetensors(readSafetensorsIndex(bytes), open)).tensors);
      },
    ],
  },
};

for (const [i, [name, { bytes, readings }]] of Object.entries(SUBJECTS).entries()) {
  const count = Math.floor((MUTATIONS + i) / Object.keys(SUBJECTS).length);
  test(
    `${name} with any of ${count} mutations gives tensors or a sentence`,
    async () => {
      for (const read of readings) expect((await read(bytes)).size).toBeGreaterThan(2);
      let refused = 0;
      for (let n = 0; n < count; n++) {
        const bad = mutated(bytes, rng(name).child(n));
        const outcomes = [];
        for (const read of readings) outcomes.push(await outcome(() => read(bad), `mutation ${n}`));
        expect(new Set(outcomes).size, `mutation ${n}: ${outcomes}`).toBe(1);
        if (outcomes[0] === "refused") refused++;
      }
      // The rest changed what no rule is about: names, numbers, padding.
      expect(refused).toBeGreaterThan(count / 2);
    },
    60_000 + MUTATIONS * 20,
  );
}

/** "read" or "refused"; everything else fails the test. */
async function outcome(read: () => Promise<Tensors>, which: string): Promise<string> {
  const begin = performance.now();
  try {
    await read();
    return "read";
  } catch (error) {
    if (!(error instanceof InputError)) throw new Error(which, { cause: error });
    expect(error.message, which).toMatch(/^[^\n]{12,}$/);
    expect(error.message, which).not.toMatch(/undefined|\[object|NaN/);
    return "refused";
  } finally {
    expect(performance.now() - begin, which).toBeLessThan(PATIENCE * 1000);
  }
}
