/** Constants in files: the same results as in memory, beyond 2 GB, and a cache that is filled once. */

import { mkdtemp, open, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bytesOf } from "../../formats/bytes.ts";
import { sizeOf, type Tensor } from "../../formats/dtype.ts";
import { deriveWeights, type LazyTensor, type Weight } from "../../formats/lazy.ts";
import { openTensorFile } from "../../formats/node.ts";
import { safetensorsHeader, writeSafetensors } from "../../formats/safetensors.ts";
import { type Backend, openBackend } from "../backend.ts";
import { constant, createGraph, type Graph, input, output } from "../graph.ts";
import { add, embedding, linear } from "../ops.ts";
import { toOnnx } from "../to-onnx.ts";
import { ortNode } from "./ort-node.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ort weights-")); // with a space, as people have them
});
afterAll(() => rm(folder, { recursive: true }));

const wave = (...shape: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i * 0.7)),
});

const tensors = new Map([
  ["W", wave(96, 64)],
  ["b", wave(96)],
  ["table", wave(50, 64)],
]);

/** ids -> table rows · Wᵀ + b, twice: by a matrix product of named and of fixed sizes. */
function model(weights: ReadonlyMap<string, Weight>): Graph {
  const g = createGraph("rows");
  const w = (name: string) => constant(g, weights.get(name)!, name);
  const rows = embedding(w("table"), input(g, "ids", ["B", 3], "int64"));
  const [W, b] = [w("W"), w("b")];
  output(g, "y", linear(rows, W, b));
  output(g, "z", linear(add(constant(g, wave(5, 64)), 1), W, b));
  return g;
}

const ids: Tensor = {
  dtype: "int64",
  shape: [2, 3],
  data: BigInt64Array.of(0n, 49n, 7n, 7n, 1n, 2n),
};

async function results(backend: Backend, graph: Graph): Promise<Record<string, Tensor>> {
  const session = await backend.compile(graph, { threads: 1 });
  try {
    return await session.run({ ids });
  } finally {
    await session.release();
  }
}

const lazily = (weight: Tensor, key?: string): LazyTensor & { readings: number } => {
  const lazy = {
    dtype: weight.dtype,
    shape: weight.shape,
    key,
    readings: 0,
    read: async () => {
      lazy.readings++;
      return weight.data;
    },
  };
  return lazy;
};

describe("weights to be read", () => {
  for (const name of ["ort-node", "ort-web", "reference"] as const)
    test(`give on ${name} what weights in memory give`, async () => {
      const path = join(folder, "model.safetensors");
      await writeFile(path, writeSafetensors(tensors));
      const link = join(folder, "link to model");
      await symlink(path, link).catch(() => undefined); // there from the last backend
      const backend = await openBackend(name);
      const wanted = await results(backend, model(tensors));
      for (const file of [path, link])
        expect(await results(backend, model((await openTensorFile(file)).tensors))).toEqual(wanted);
    });

  test("are not mapped from a file that has been replaced", async () => {
    const path = join(folder, "replaced.safetensors");
    await writeFile(path, writeSafetensors(tensors));
    const graph = model((await openTensorFile(path)).tensors);
    await rm(path);
    await writeFile(path, writeSafetensors(new Map([...tensors, ["more", wave(1)]])));
    await expect(ortNode().compile(graph)).rejects.toThrow(/the file changed since it was opened/);
  });

  test("are looked at by the check for NaN", async () => {
    const bad = wave(96, 64);
    (bad.data as Float32Array)[5] = Number.NaN;
    const graph = model(new Map<string, Weight>([...tensors, ["W", lazily(bad)]]));
    const session = await ortNode().compile(graph, { nanCheck: true });
    await expect(session.run({ ids })).rejects.toThrow('input "W" already holds NaN');
    await session.release();
  });

  test("cannot be written as a model before they are read", () => {
    const graph = model(new Map<string, Weight>([...tensors, ["W", lazily(wave(96, 64))]]));
    expect(() => toOnnx(graph)).toThrow(/constant "W" has not been read/);
  });

  test("of 3 GB in one graph are mapped, not read", async () => {
    const [rows, width] = [3 * 2 ** 19, 512]; // 3 GiB of float32
    const path = join(folder, "large.safetensors");
    const header = safetensorsHeader(
      new Map([["table", { dtype: "float32", shape: [rows, width] }]]),
    );
    const file = await open(path, "w");
    await file.write(header);
    await file.truncate(header.length + rows * width * 4); // a hole: takes no room on disk
    const last = bytesOf(new Float32Array(width).fill(0.5));
    await file.write(last, 0, last.length, header.length + (rows - 1) * width * 4);
    await file.close();
    const g = createGraph("large");
    const { tensors: opened } = await openTensorFile(path);
    const table = constant(g, opened.get("table")!, "table");
    output(g, "y", embedding(table, input(g, "ids", ["B"], "int64")));
    const session = await ortNode().compile(g);
    const data = BigInt64Array.of(0n, BigInt(rows - 1));
    const { y } = await session.run({ ids: { dtype: "int64", shape: [2], data } });
    expect(Array.from(y!.data as Float32Array)).toEqual([
      ...new Array(width).fill(0),
      ...new Array(width).fill(0.5),
    ]);
    await session.release();
    await expect((await openBackend("ort-web")).compile(g)).rejects.toThrow(
      /take 3221225472 bytes, a model in memory holds/,
    );
  });
});

describe("weights that are computed", () => {
  const cached = (name: string) => join(folder, name);
  const backend = (at: string) => ortNode({ weights: { folder: at, computedInModel: 0 } });

  test("are written once for the same keys, and found again", async () => {
    const at = cached("keyed");
    const wanted = await results(ortNode(), model(tensors));
    const [W, table] = [lazily(tensors.get("W")!, "W 1"), lazily(tensors.get("table")!, "table 1")];
    const weights = new Map<string, Weight>([...tensors, ["W", W], ["table", table]]);
    for (let i = 0; i < 2; i++) expect(await results(backend(at), model(weights))).toEqual(wanted);
    expect([W.readings, table.readings]).toEqual([1, 1]);
    expect((await readdir(at)).filter((file) => file.endsWith(".bin"))).toHaveLength(1);
    const other = lazily(wave(96, 64), "W 2");
    await results(backend(at), model(new Map([...weights, ["W", other]])));
    expect(other.readings).toBe(1);
  });

  test("are not computed again for the small ones among them", async () => {
    const at = cached("derived");
    const source = lazily(tensors.get("W")!, "W");
    const parts = () =>
      deriveWeights(source, {
        name: "halves",
        outputs: {
          W: { dtype: "float32", shape: [96, 64] },
          b: { dtype: "float32", shape: [96] },
        },
        make: (data) => ({
          W: Float32Array.from(data as Float32Array, (x) => x / 2),
          b: (data as Float32Array).slice(0, 96),
        }),
      });
    const weights = () => new Map<string, Weight>([...tensors, ...Object.entries(parts())]);
    const first = await results(backend(at), model(weights()));
    expect(await results(backend(at), model(weights()))).toEqual(first);
    expect(source.readings).toBe(1);
  });

  test("are found again beside a small one without a key", async () => {
    const at = cached("mixed");
    const wanted = await results(ortNode(), model(tensors));
    const [W, b] = [lazily(tensors.get("W")!, "W"), lazily(tensors.get("b")!)];
    const weights = new Map<string, Weight>([...tensors, ["W", W], ["b", b]]);
    for (let i = 0; i < 2; i++) expect(await results(backend(at), model(weights))).toEqual(wanted);
    expect([W.readings, b.readings]).toEqual([1, 2]);
    expect((await readdir(at)).filter((file) => file.endsWith(".bin"))).toHaveLength(1);
  });

  test("without a key leave nothing behind", async () => {
    const at = cached("passing");
    const weights = new Map<string, Weight>([...tensors, ["W", lazily(tensors.get("W")!)]]);
    const wanted = await results(ortNode(), model(tensors));
    expect(await results(backend(at), model(weights))).toEqual(wanted);
    expect(await readdir(at)).toEqual([]);
  });

  test("few as they are stay in the model", async () => {
    const at = cached("none");
    const W = lazily(tensors.get("W")!, "W");
    const small = ortNode({ weights: { folder: at } });
    await results(small, model(new Map<string, Weight>([...tensors, ["W", W]])));
    await expect(readdir(at)).rejects.toThrow();
  });
});
