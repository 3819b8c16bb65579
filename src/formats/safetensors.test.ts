/** safetensors: round trips, every rule of the format broken once, shards, and damaged bytes. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedTest } from "../../test/shared.ts";
import { memorySource } from "./bytes.ts";
import { BYTES, type DType, HOST, type Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import {
  readSafetensors,
  readSafetensorsHeader,
  readSafetensorsTensor,
  writeSafetensors,
} from "./safetensors.ts";
import { readSafetensorsIndex, readShardedSafetensors } from "./safetensors-index.ts";

const f32 = (shape: number[], ...values: number[]): Tensor => ({
  dtype: "float32",
  shape,
  data: Float32Array.from(values),
});

/** A file from a header text and a number of data bytes; nothing is checked. */
function file(header: string, dataBytes: number, length?: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const out = new Uint8Array(8 + text.length + dataBytes);
  new DataView(out.buffer).setBigUint64(0, BigInt(length ?? text.length), true);
  out.set(text, 8);
  return out;
}

const anyTensor = fc
  .record({
    dtype: fc.constantFrom(...(Object.keys(BYTES) as DType[])),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
    seed: fc.nat(255),
  })
  .map(({ dtype, shape, seed }): Tensor => {
    const size = shape.reduce((n, d) => n * d, 1);
    const bytes = new Uint8Array(size * BYTES[dtype]).map((_, i) =>
      dtype === "bool" ? (seed + i) & 1 : seed + 37 * i,
    );
    return { dtype, shape, data: new HOST[dtype](bytes.buffer as ArrayBuffer) };
  });

const bits = (t: Tensor) => [
  t.dtype,
  t.shape,
  Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString("hex"),
];

describe("a safetensors file", () => {
  test("gives back names in order, dtypes, shapes, bits and metadata", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.string({ unit: "binary" }), anyTensor), {
          selector: ([name]) => name,
        }),
        fc.dictionary(fc.string(), fc.string()),
        (list, metadata) => {
          const tensors = new Map(
            list.map(([n, t]) => [n, t] as const).filter(([n]) => n !== "__metadata__"),
          );
          const got = readSafetensors(writeSafetensors(tensors, { metadata }));
          expect([...got.tensors].map(([n, t]) => [n, bits(t)])).toEqual(
            [...tensors].map(([n, t]) => [n, bits(t)]),
          );
          expect(got.metadata).toEqual(Object.fromEntries(Object.entries(metadata)));
        },
      ),
    );
  });

  test("keeps names that are special in JavaScript", () => {
    const tensors = new Map([
      ["__proto__", f32([1], 1)],
      ["1", f32([1], 2)],
      ["0", f32([1], 3)],
    ]);
    expect([...readSafetensors(writeSafetensors(tensors)).tensors.keys()]).toEqual([
      "__proto__",
      "1",
      "0",
    ]);
  });

  test("starts its data on 8 bytes and pads with spaces", () => {
    for (const name of ["a", "ab", "abc", "abcdefgh"]) {
      const bytes = writeSafetensors(new Map([[name, f32([2], 1, 2)]]));
      const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
      expect(length % 8).toBe(0);
      expect(new TextDecoder().decode(bytes.subarray(8, 8 + length))).toMatch(/^\{.*\} *$/);
    }
  });

  test("is read without a copy where the tensors are aligned", () => {
    const bytes = writeSafetensors(new Map([["a", f32([2], 1, 2)]]));
    expect(readSafetensors(bytes).tensors.get("a")?.data.buffer).toBe(bytes.buffer);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect(readSafetensors(shifted.subarray(1)).tensors.get("a")).toEqual(f32([2], 1, 2));
    expect(readSafetensors(Buffer.from(shifted.buffer, 1)).tensors.get("a")).toEqual(
      f32([2], 1, 2),
    );
  });

  test("is read by range: the header and one tensor, not the rest", async () => {
    const bytes = writeSafetensors(
      new Map([
        ["a", f32([1000], ...Array(1000).fill(7))],
        ["b", f32([], 5)],
      ]),
    );
    const reads: number[] = [];
    const source = {
      size: bytes.length,
      read: (offset: number, length: number) => {
        reads.push(length);
        return memorySource(bytes).read(offset, length);
      },
    };
    const header = await readSafetensorsHeader(source);
    expect(header.entries.get("a")).toMatchObject({
      dtype: "float32",
      shape: [1000],
      length: 4000,
    });
    expect((await readSafetensorsTensor(source, header, "b")).data).toEqual(Float32Array.of(5));
    expect(Math.max(...reads)).toBeLessThan(4000);
    await expect(readSafetensorsTensor(source, header, "c")).rejects.toThrow(/not in the file/);
  });
});

const entry = (rest = "") => `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]${rest}}`;

describe("a safetensors file is refused when", () => {
  test.each<[string, Uint8Array, RegExp]>([
    ["it is shorter than 8 bytes", new Uint8Array(7), /7 bytes/],
    ["the header reaches past the end", file("{}", 0, 3), /header says 3/],
    ["the header length is 2^63", file("{}", 0, 2 ** 63), /header says 9223372036854775808/],
    ["the header is empty", file("", 8), /header says 0/],
    ["the header begins with a blank", file(" {}", 0), /begin with \{/],
    ["the header begins with a BOM", file("\ufeff{}", 0), /begin with \{/],
    ["the header ends with a line break", file("{}\n", 0), /end with \}/],
    ["the header is no JSON", file("{a}", 0), /wanted a string/],
    ["the header is not UTF-8", Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d), /UTF-8/],
    ["a name stands twice", file(`{${entry()},${entry()}}`, 8), /"a" stands twice/],
    [
      "a name stands twice, once escaped",
      file(`{${entry()},${entry().replace("a", "\\u0061")}}`, 8),
      /stands twice/,
    ],
    ["an inner key stands twice", file(`{${entry(',"dtype":"F32"')}}`, 8), /stands twice/],
    ["a foreign key stands in an entry", file(`{${entry(',"x":1')}}`, 8), /exactly/],
    [
      "the dtype is unknown",
      file(`{${entry().replace("F32", "F31")}}`, 8),
      /"F31" is not supported/,
    ],
    ["a size is negative", file(`{${entry().replace("[2]", "[-2]")}}`, 8), /size -2/],
    [
      "a size is a fraction",
      file(`{${entry().replace("[2]", "[2.0]")}}`, 8),
      /2.0 is not an integer/,
    ],
    [
      "a size is beyond 2^53",
      file(`{${entry().replace("[2]", "[9007199254740993]")}}`, 8),
      /below 2\^53/,
    ],
    [
      "the shape overflows",
      file(`{${entry().replace("[2]", "[4294967296,4294967296]")}}`, 8),
      /more than 2\^53/,
    ],
    [
      "the shape overflows beside a zero",
      file(`{${entry().replace("[2]", "[0,4294967296,4294967296]")}}`, 8),
      /more than 2\^53/,
    ],
    ["offsets and shape disagree", file(`{${entry().replace("[2]", "[3]")}}`, 8), /takes 12 bytes/],
    ["an offset is text", file(`{${entry().replace("[0,8]", '["0",8]')}}`, 8), /lists of integers/],
    ["there is a hole", file(`{${entry().replace("[0,8]", "[4,12]")}}`, 12), /a hole/],
    [
      "tensors overlap",
      file(`{${entry()},${entry().replace('"a"', '"b"').replace("[0,8]", "[4,12]")}}`, 12),
      /overlap/,
    ],
    ["the data is truncated", file(`{${entry()}}`, 7), /truncated/],
    ["bytes follow the data", file(`{${entry()}}`, 9), /foreign bytes/],
    ["metadata is not text", file(`{"__metadata__":{"a":1},${entry()}}`, 8), /text to text/],
    ["JSON nests too deep", file(`{"__metadata__":${"[".repeat(1e5)}}`, 0), /deeper than 64/],
    [
      "a bool is 2",
      (() => {
        const f = file('{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}', 1);
        f[f.length - 1] = 2;
        return f;
      })(),
      /bool element 0 is 2/,
    ],
  ])("%s", async (_, bytes, why) => {
    const read = () => readSafetensors(bytes);
    expect(read).toThrow(why);
    expect(read).toThrow(InputError);
  });

  test("any byte changes: an InputError or tensors, never another error", () => {
    const good = writeSafetensors(
      new Map([
        ["a", f32([2, 2], 1, 2, 3, 4)],
        ["b", { dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) }],
      ]),
      { metadata: { k: "v" } },
    );
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(edits, fc.nat(good.length), (changes, length) => {
        const bytes = good.slice();
        for (const [at, to] of changes) bytes[at] = to;
        try {
          readSafetensors(bytes.subarray(0, length || bytes.length));
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe("a sharded checkpoint", () => {
  const shards: Record<string, Uint8Array> = {
    "m-1.safetensors": writeSafetensors(new Map([["a", f32([1], 1)]])),
    "m-2.safetensors": writeSafetensors(new Map([["b", f32([2], 2, 3)]])),
  };
  const open = async (name: string) => memorySource(shards[name]!);
  const index = (map: object, total?: unknown) =>
    new TextEncoder().encode(JSON.stringify({ metadata: { total_size: total }, weight_map: map }));
  const good = { b: "m-2.safetensors", a: "m-1.safetensors" };

  test("is read in the order of its index", async () => {
    const { tensors } = await readShardedSafetensors(readSafetensorsIndex(index(good, 12)), open);
    expect([...tensors]).toEqual([
      ["b", f32([2], 2, 3)],
      ["a", f32([1], 1)],
    ]);
  });

  test.each<[string, object, unknown, RegExp]>([
    ["the total is wrong", good, 16, /says 16 bytes/],
    [
      "a tensor is not in its shard",
      { ...good, c: "m-1.safetensors" },
      12,
      /"c" is not in the file/,
    ],
    ["a shard holds more", { a: "m-1.safetensors", c: "m-2.safetensors" }, 12, /holds "b"/],
  ])("is refused when %s", async (_, map, total, why) => {
    const parsed = readSafetensorsIndex(index(map, total));
    await expect(readShardedSafetensors(parsed, open)).rejects.toThrow(why);
  });

  test.each([
    ["../m.safetensors"],
    ["a/m.safetensors"],
    ["a\\m.safetensors"],
    ["/m.safetensors"],
    ["..safetensors"],
    ["m.bin"],
    ["C:m.safetensors"],
    [5],
  ])("never names %j", (name) => {
    expect(() => readSafetensorsIndex(index({ a: name }))).toThrow(/name of a .safetensors file/);
  });
});

describe("shared safetensors:", () => {
  for (const name of ["data", "edit", "sampling", "train", "vae", "var"])
    sharedTest(`golden_${name} is read`, `fixtures/var/golden_${name}.safetensors`, (path) => {
      const bytes = readFileSync(path!);
      const { tensors, metadata } = readSafetensors(bytes);
      expect(tensors.size).toBeGreaterThan(2);
      // Written again in its own order it says the same.
      expect(readSafetensors(writeSafetensors(tensors, { metadata })).tensors).toEqual(tensors);
    });

  const guard = "fixtures/guard/safetensors/";
  for (const name of [
    "f4_odd",
    "size_mismatch",
    "string_offset",
    "header_zero",
    "header_big_2MB",
    "leading_hole",
    "not_json",
    "header_too_small",
    "json_array",
    "shape_overflow",
  ])
    sharedTest(
      `corrupt/${name} is refused or says what it holds`,
      `${guard}corrupt/${name}.safetensors`,
      (path) => {
        const read = () => readSafetensors(readFileSync(path!));
        if (name === "header_big_2MB") read();
        else expect(read).toThrow(InputError);
      },
    );
  sharedTest(
    "an index that leaves its folder is refused",
    `${guard}malicious/index_traversal/model.safetensors.index.json`,
    (path) => {
      expect(() => readSafetensorsIndex(readFileSync(path!))).toThrow(InputError);
    },
  );
  sharedTest(
    "a good index is read",
    `${guard}benign/index_ok/model.safetensors.index.json`,
    (path) => {
      expect(readSafetensorsIndex(readFileSync(path!)).files.length).toBeGreaterThan(0);
    },
  );
});
