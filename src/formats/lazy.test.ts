/** Tensors read when needed: the same data as reading whole files, from every format, and derived ones. */

import { mkdtemp, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sharedTest } from "../../test/shared.ts";
import { bytesOf, memorySource } from "./bytes.ts";
import type { Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { deriveWeights, isLazy, type LazyTensor, readWeight, readWeights } from "./lazy.ts";
import { openTensorFile, readTensorFile } from "./node.ts";
import { lazyPth, readPth } from "./pth.ts";
import { dequantizeLazily, dequantizeWeights, quantizeWeights } from "./quantize.ts";
import { safetensorsHeader, writeSafetensors } from "./safetensors.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../test/fixtures/var/${name}`, import.meta.url));

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lazy-"));
});
afterAll(() => rm(folder, { recursive: true }));

const float = (...values: number[]): Tensor => ({
  dtype: "float32",
  shape: [values.length],
  data: Float32Array.from(values),
});

/** Opens a file both ways; every tensor must be the same, and what is said to lie in the file must lie there. */
async function sameBothWays(path: string): Promise<void> {
  const whole = await readTensorFile(path);
  const opened = await openTensorFile(path);
  const all = await readWeights(opened.tensors);
  expect([opened.format, opened.metadata]).toEqual([whole.format, whole.metadata]);
  expect([...opened.tensors.keys()]).toEqual([...whole.tensors.keys()]);
  const files = new Map<string, Buffer>();
  for (const [name, weight] of opened.tensors) {
    const { dtype, shape, data } = whole.tensors.get(name)!;
    const read = all.get(name) as Tensor;
    expect([read.dtype, read.shape], name).toEqual([dtype, shape]);
    expect(Buffer.compare(bytesOf(read.data), bytesOf(data)), name).toBe(0);
    if (!isLazy(weight) || !weight.file) continue;
    const { path: at, offset, length } = weight.file;
    if (!files.has(at)) files.set(at, await readFile(at));
    const bytes = files.get(at)!.subarray(offset, offset + length);
    expect(Buffer.compare(bytes, bytesOf(data)), name).toBe(0);
  }
}

describe("a file opened lazily gives what reading it whole gives", () => {
  for (const name of ["mini_zip.pth", "mini_legacy.pth", "var_l2.safetensors"])
    test(name, () => sameBothWays(fixture(name)));

  for (const name of ["var_tiny.pth", "trainer_ckpt_like.pth.gz"])
    sharedTest(name, `fixtures/var/${name}`, async (path) => {
      const bytes = await readFile(path!);
      const copy = join(folder, name.replace(".gz", ""));
      await writeFile(copy, name.endsWith(".gz") ? gunzipSync(bytes) : bytes);
      await sameBothWays(copy);
    });

  test("a sharded checkpoint", async () => {
    await writeFile(join(folder, "s-1.safetensors"), writeSafetensors(new Map([["a", float(1)]])));
    await writeFile(join(folder, "s-2.safetensors"), writeSafetensors(new Map([["b", float(2)]])));
    const index = join(folder, "model.safetensors.index.json");
    const weight_map = { b: "s-2.safetensors", a: "s-1.safetensors" };
    await writeFile(index, JSON.stringify({ weight_map }));
    await sameBothWays(index);
    await writeFile(index, JSON.stringify({ weight_map: { ...weight_map, c: "s-1.safetensors" } }));
    await expect(openTensorFile(index)).rejects.toThrow(/s-1.safetensors lacks the tensor "c"/);
  });
});

describe("a tensor to be read", () => {
  test("is refused once its file has been replaced or changed", async () => {
    const path = join(folder, "changing.safetensors");
    const other = `${path}.other`;
    await writeFile(path, writeSafetensors(new Map([["a", float(1, 2)]])));
    const { tensors } = await openTensorFile(path);
    await writeFile(other, writeSafetensors(new Map([["a", float(3, 4)]])));
    await rename(other, path);
    await expect(readWeight(tensors.get("a")!)).rejects.toThrow(
      /the file changed .* open it again/,
    );
  });

  test("has no place to be mapped from where floats would begin between two floats", async () => {
    const path = join(folder, "odd.safetensors");
    const byte: Tensor = { dtype: "uint8", shape: [1], data: Uint8Array.of(7) };
    await writeFile(
      path,
      writeSafetensors(
        new Map([
          ["byte", byte],
          ["a", float(1, 2)],
        ]),
      ),
    );
    const { tensors } = await openTensorFile(path);
    const a = tensors.get("a") as LazyTensor;
    expect(a.file).toBeUndefined();
    expect(await a.read()).toEqual(Float32Array.of(1, 2));
  });

  test("of a damaged storage is found when the file is opened, or not looked for", async () => {
    const bytes = await readFile(fixture("mini_zip.pth"));
    const good = (await lazyPth(memorySource(bytes))).tensors.get("a.weight") as LazyTensor;
    const wanted = bytesOf(await good.read());
    const at = bytes.indexOf(wanted);
    bytes[at] = bytes[at]! ^ 1;
    await expect(lazyPth(memorySource(bytes))).rejects.toThrow(/the CRC is .*, wanted .*damaged/);
    const { tensors } = await lazyPth(memorySource(bytes), { verify: false });
    expect(await readWeight(tensors.get("a.weight")!)).not.toEqual(wanted);
    await expect(readPth(bytes)).rejects.toThrow(InputError);
  });

  test("of a file of gigabytes costs no memory until then", async () => {
    const path = join(folder, "large.safetensors");
    const header = safetensorsHeader(
      new Map([
        ["large", { dtype: "float32", shape: [2 ** 30, 3] }],
        ["last", { dtype: "float32", shape: [1] }],
      ]),
    );
    const file = await open(path, "w");
    await file.write(header);
    await file.truncate(header.length + 3 * 2 ** 32); // a hole: takes no room on disk
    await file.write(bytesOf(Float32Array.of(5)), 0, 4, header.length + 3 * 2 ** 32);
    await file.close();
    const { tensors } = await openTensorFile(path);
    expect(tensors.get("large")).toMatchObject({
      shape: [2 ** 30, 3],
      file: { length: 3 * 2 ** 32 },
    });
    expect(await readWeight(tensors.get("last")!)).toEqual(float(5));
  });
});

describe("derived weights", () => {
  /** A weight that counts its readings. */
  function counted(): LazyTensor & { readings: number } {
    const read = async () => {
      weight.readings++;
      return Float32Array.of(1, -2);
    };
    const weight = { dtype: "float32" as const, shape: [2], key: "w", readings: 0, read };
    return weight;
  }
  const signs = {
    name: "signs v1",
    outputs: {
      sign: { dtype: "int8" as const, shape: [2] },
      size: { dtype: "float32" as const, shape: [2] },
    },
    make: (data: ArrayLike<number | bigint>) => ({
      sign: Int8Array.from({ length: 2 }, (_, i) => Math.sign(Number(data[i]))),
      size: Float32Array.from({ length: 2 }, (_, i) => Math.abs(Number(data[i]))),
    }),
  };

  test("are computed once when read one after the other, and anew after that", async () => {
    const weight = counted();
    const { sign, size } = deriveWeights(weight, signs);
    expect([await sign.read(), await size.read()]).toEqual([
      Int8Array.of(1, -1),
      Float32Array.of(1, 2),
    ]);
    expect(weight.readings).toBe(1);
    await size.read();
    expect(weight.readings).toBe(2);
  });

  test("carry a key that names source, computation and output, or none", () => {
    const { sign, size } = deriveWeights(counted(), signs);
    expect([sign.key, size.key]).toEqual(["w -> signs v1 sign", "w -> signs v1 size"]);
    expect(deriveWeights(float(1, 2), signs).sign.key).toBeUndefined();
  });

  test("whose source failed once are tried again", async () => {
    const source = counted();
    let failing = true;
    const read = async () => {
      if (failing) throw new InputError("gone");
      return source.read();
    };
    const { sign } = deriveWeights({ ...source, read }, signs);
    await expect(sign.read()).rejects.toThrow("gone");
    failing = false;
    expect(await sign.read()).toEqual(Int8Array.of(1, -1));
  });

  for (const to of ["float16", "int8"] as const)
    test(`${to} storage is undone as for tensors in memory`, async () => {
      const data = Float32Array.from({ length: 8192 }, (_, i) => Math.sin(i));
      const large: Tensor = { dtype: "float32", shape: [64, 128], data };
      const stored = quantizeWeights(
        new Map([
          ["large", large],
          ["small", float(1)],
        ]),
        { to },
      );
      const path = join(folder, `${to}.safetensors`);
      await writeFile(path, writeSafetensors(stored));
      const { tensors } = await openTensorFile(path);
      const lazily = dequantizeLazily(tensors);
      expect(isLazy(lazily.get("large")!)).toBe(true);
      expect(await readWeights(lazily)).toEqual(dequantizeWeights(stored));
    });

  test("int8 values without scales are refused", async () => {
    const lone: LazyTensor = { dtype: "int8", shape: [1], read: async () => Int8Array.of(1) };
    expect(() => dequantizeLazily(new Map([["w", lone]]))).toThrow(/needs "w.scale"/);
  });
});
