/** NumPy's files: what NumPy wrote is read, what we write reads back, and what is not plain is refused. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { bytesOf, memorySource } from "./bytes.ts";
import { HOST, type Tensor } from "./dtype.ts";
import { npyHeader, readNpy, writeNpy } from "./npy.ts";
import { checkNpz, type NpzPart, npzPieces, readNpz } from "./npz.ts";

const fixture = readFileSync(
  fileURLToPath(new URL("../../test/fixtures/eval/features.npz", import.meta.url)),
);

async function joined(parts: readonly NpzPart[]): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of npzPieces(parts)) pieces.push(piece.slice());
  return Buffer.concat(pieces);
}
const part = (name: string, tensor: Tensor): NpzPart => ({
  name,
  ...tensor,
  data: () => [bytesOf(tensor.data).subarray(0, 5), bytesOf(tensor.data).subarray(5)],
});
const tensor = (dtype: "uint8" | "float64", shape: readonly number[]): Tensor => {
  const data = new HOST[dtype](shape.reduce((n, d) => n * d, 1));
  for (let i = 0; i < data.length; i++) data[i] = i % 251;
  return { dtype, shape, data };
};

describe(".npz", () => {
  test("arrays that NumPy saved are read by name, whole or by rows", async () => {
    const arrays = await readNpz(fixture);
    expect([...arrays].map(([name, { dtype, shape }]) => [name, dtype, shape])).toEqual([
      ["full_a", "float32", [300, 16]],
      ["full_b", "float32", [260, 16]],
      ["few_a", "float32", [20, 48]],
      ["few_b", "float32", [31, 48]],
      ["probabilities", "float64", [103, 7]],
    ]);
    const whole = await arrays.get("few_b")!.read();
    const rows = await arrays.get("few_b")!.rows(3, 5);
    expect([...rows]).toEqual([...bytesOf(whole.data.subarray(3 * 48, 5 * 48))]);
    await checkNpz(memorySource(fixture));
  });

  test("what is written in pieces reads back, also by our own strict zip reader", async () => {
    const [images, mu] = [tensor("uint8", [3, 4, 4, 3]), tensor("float64", [7])];
    const bytes = await joined([part("arr_0", images), part("mu", mu)]);
    const arrays = await readNpz(bytes);
    expect(await arrays.get("arr_0")!.read()).toEqual(images);
    expect(await arrays.get("mu")!.read()).toEqual(mu);
    await checkNpz(memorySource(bytes));
    expect(await joined([part("arr_0", images), part("mu", mu)])).toEqual(bytes);
  });

  test("a damaged array, a length that lies and entries that are no arrays are refused", async () => {
    const bytes = Uint8Array.from(await joined([part("mu", tensor("float64", [7]))]));
    const damaged = bytes.slice();
    damaged[30 + 6 + 20 + 128 + 3]! ^= 1; // an element
    await expect((await readNpz(damaged)).get("mu")!.read()).rejects.toThrow("CRC");
    await expect(checkNpz(memorySource(damaged))).rejects.toThrow("CRC");
    const short = { ...part("mu", tensor("float64", [7])), shape: [8] };
    await expect(joined([short])).rejects.toThrow("[8]");
    await expect(readNpz(bytes.subarray(0, 100))).rejects.toThrow("zip");
  });
});

describe(".npy", () => {
  test("every shape comes back: scalars, vectors, empty ones", () => {
    for (const shape of [[], [0], [5], [2, 3], [1, 1, 4, 2]]) {
      const one = tensor("float64", shape);
      expect(readNpy(writeNpy(one), "x")).toEqual(one);
      expect(npyHeader(one).length % 64).toBe(0);
    }
  });

  test("objects, Fortran order, other types and trailing bytes are refused", () => {
    const good = writeNpy(tensor("float64", [2, 2]));
    const edited = (from: string, to: string) =>
      Buffer.from(Buffer.from(good).toString("latin1").replace(from, to), "latin1");
    expect(() => readNpy(edited("'<f8'", "'|O8'"), "x")).toThrow("plain array");
    expect(() => readNpy(edited("'<f8'", "'>f8'"), "x")).toThrow("plain array");
    expect(() => readNpy(edited("False", "True "), "x")).toThrow("C order");
    expect(() => readNpy(edited("(2, 2)", "(2, 3)"), "x")).toThrow("takes 48 bytes");
    expect(() => readNpy(edited("NUMPY", "NUMPI"), "x")).toThrow("not a NumPy array");
    expect(() => readNpy(good.subarray(0, 40), "x")).toThrow("header");
  });
});
