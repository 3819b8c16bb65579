/** PyTorch checkpoints: every fixture bit by bit, and nothing malicious ever loads. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type HashRecipe, hashedValue } from "../../test/hash-weights.ts";
import { sharedFile, sharedTest } from "../../test/shared.ts";
import { bytesOf } from "./bytes.ts";
import { type DType, sizeOf, type Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { toFloat32 } from "./float16.ts";
import { type PickleValue, readPickle } from "./pickle.ts";
import { collectTensors, readPth } from "./pth.ts";

const load = (path: string): Buffer =>
  path.endsWith(".gz") ? gunzipSync(readFileSync(path)) : readFileSync(path);

const VAR = "fixtures/var/";
const GUARD = "fixtures/guard/";

// ---- values -----------------------------------------------------------------------------------

/** What mini_zip.pth and mini_legacy.pth both hold. */
const MINI = {
  "a.weight": ["float32", [2, 3], [0, 1, 2, 3, 4, 5]],
  "a.half": ["float16", [2], [1.5, -2]],
  "a.bf16": ["bfloat16", [2], [1.5, -2]],
  idx: ["int64", [5], [0, 1, 2, 3, 4]],
  scalar: ["float32", [], [3.25]],
  noncontig: ["float32", [4, 3], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]],
  view: ["float32", [5], [2, 3, 4, 5, 6]],
};

describe("a checkpoint of PyTorch", () => {
  for (const [file, recipe] of [
    ["vae_tiny.pth.gz", "vae_tiny"],
    ["var_tiny.pth", "var_tiny"],
    ["var_tiny_saln.pth.gz", "var_tiny_saln"],
  ])
    sharedTest(
      `gives the exact weights of ${file}`,
      [VAR + file, `${VAR}${recipe}.weights.json`],
      async (path, json) => {
        const { tensors, container } = await readPth(load(path!));
        expect(container).toBe("zip");
        const { seed, tensors: specs }: HashRecipe = JSON.parse(readFileSync(json!, "utf8"));
        for (const spec of specs) {
          const got = tensors.get(spec.name);
          expect([spec.name, got?.dtype, got?.shape]).toEqual([spec.name, "float32", spec.shape]);
          const wanted = Float32Array.from({ length: sizeOf(spec.shape) }, (_, i) =>
            hashedValue(spec, seed, i),
          );
          if (recipe === "var_tiny" && spec.name === "blocks.0.attn.scale_mul_1H11") wanted[1] = 5;
          expect(Buffer.compare(bytesOf(got!.data), bytesOf(wanted)), spec.name).toBe(0);
        }
      },
    );

  for (const file of ["mini_zip.pth", "mini_legacy.pth"])
    sharedTest(`has all dtypes, strides and offsets of ${file}`, VAR + file, async (path) => {
      const { tensors, container } = await readPth(load(path!));
      expect(container).toBe(file.slice(5, -4));
      expect(
        Object.fromEntries(
          [...tensors].map(([n, t]) => [n, [t.dtype, t.shape, [...toFloat32(t)]]]),
        ),
      ).toEqual(MINI);
    });

  sharedTest("keeps nested state as plain data", `${VAR}trainer_ckpt_like.pth.gz`, async (path) => {
    const { value, tensors } = await readPth(load(path!));
    const root = value as Map<string, PickleValue>;
    expect([...root.keys()]).toEqual(["epoch", "iter", "trainer", "args"]);
    expect(tensors.get("trainer.var_wo_ddp.pos_start")?.dtype).toBe("float32");
    expect([...(root.get("trainer") as Map<string, PickleValue>).keys()]).toEqual([
      "config",
      "var_wo_ddp",
      "vae_local",
      "var_opt",
    ]);
  });

  sharedTest(
    "that names a function is refused with the place",
    `${VAR}unsafe_global.pth`,
    async (path) => {
      const error = await readPth(load(path!)).catch((e) => e);
      expect(error).toBeInstanceOf(InputError);
      expect(error.message).toMatch(
        /GLOBAL at byte 169: the name "posix.getpid" is not on the list/,
      );
      expect(error.data).toMatchObject({ at: 169, opcode: "GLOBAL" });
    },
  );

  for (const file of ["mini_zip.pth", "mini_legacy.pth"])
    sharedTest(
      `${file} with any changed or cut byte gives an InputError or tensors`,
      VAR + file,
      async (path) => {
        const good = load(path!);
        const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 3 });
        await fc.assert(
          fc.asyncProperty(edits, fc.option(fc.nat(good.length)), async (changes, length) => {
            const bytes = Uint8Array.from(good);
            for (const [at, to] of changes) bytes[at] = to;
            const error = await readPth(bytes.subarray(0, length ?? bytes.length)).catch((e) => e);
            if (error instanceof Error && !(error instanceof InputError)) throw error;
          }),
          { numRuns: 1500 },
        );
      },
    );
});

// ---- hostile files ----------------------------------------------------------------------------

interface Sample {
  file: string;
  label: "malicious" | "benign" | "corrupt";
  expect_load: "load" | "refuse" | "any";
}

const manifest = sharedFile(`${GUARD}manifest.json`);
const samples: Sample[] = manifest ? JSON.parse(readFileSync(manifest, "utf8")).entries : [];

/** Benign torch files we refuse, and why: they hold what has no dense tensor of our dtypes. */
const NOT_HELD: Record<string, RegExp> = {
  "torch/benign/conj_view.pt": /ComplexFloatStorage/,
  "torch/benign/sparse_coo.pt": /_rebuild_sparse_tensor/,
  "torch/benign/t113_numpy_core_path.pt": /numpy.core.multiarray/,
};

describe("of the sample files", () => {
  for (const label of ["malicious", "corrupt"] as const)
    sharedTest(
      `nothing ${label} loads, and each is refused in time`,
      `${GUARD}manifest.json`,
      async () => {
        const chosen = samples.filter((s) => s.label === label && s.expect_load !== "load");
        expect(chosen.length).toBeGreaterThan(30);
        for (const { file } of chosen) {
          const bytes = readFileSync(sharedFile(GUARD + file)!);
          const error = await readPth(bytes).then(
            () => "loaded",
            (e) => e,
          );
          expect(error, file).toBeInstanceOf(InputError);
        }
      },
    );

  for (const { file } of samples.filter((s) => /^torch\/benign/.test(s.file)))
    sharedTest(
      `${file} ${NOT_HELD[file] ? "is refused by name" : "loads as its author saved it"}`,
      [GUARD + file, `${GUARD}oracle.json`],
      async (path, oracle) => {
        const why = NOT_HELD[file];
        if (why) return expect(readPth(readFileSync(path!))).rejects.toThrow(why);
        const { tensors } = await readPth(readFileSync(path!));
        const wanted: Record<
          string,
          { kind: string; dtype: DType; shape: number[]; sha256: string }
        > = JSON.parse(readFileSync(oracle!, "utf8"))[file];
        const got = Object.fromEntries(
          [...tensors].map(([name, t]: [string, Tensor]) => [
            name,
            {
              dtype: t.dtype,
              shape: [...t.shape],
              sha256: createHash("sha256").update(bytesOf(t.data)).digest("hex"),
            },
          ]),
        );
        const named = Object.entries(wanted).filter(([, w]) => w.kind === "tensor");
        expect(got).toEqual(
          Object.fromEntries(
            named.map(([p, { dtype, shape, sha256 }]) => [
              p.slice(1).replaceAll("/", "."),
              { dtype, shape, sha256 },
            ]),
          ),
        );
      },
    );
});

// ---- the interpreter --------------------------------------------------------------------------

const pickle = (text: string, limits = {}) =>
  readPickle(
    Buffer.from(text, "latin1"),
    { globals: new Map([["m ok", { reduce: (args) => [...args] }]]) },
    { limits },
  ).value;

describe("a pickle", () => {
  test.each<[string, string, unknown]>([
    ["integers", "\x80\x02(K\x05M\x00\x01J\xff\xff\xff\xff\x8a\x01\x80t.", [5, 256, -1, -128]],
    ["a large integer", "\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.", 2n ** 64n],
    [
      "protocol 0",
      "(lp0\nI01\naI42\naF1.5\naVa\\u00e9\na(dp1\nVk\nI1\nsa.",
      [true, 42, 1.5, "aé", new Map([["k", 1]])],
    ],
    ["floats and None", "\x80\x02G\x3f\xf8\x00\x00\x00\x00\x00\x00N\x86.", [1.5, null]],
    [
      "frames and the memo",
      "\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x01a\x94h\x01e.\x00".slice(0, 22),
      ["a", "a"],
    ],
    ["sets", "\x80\x04\x8f(K\x01K\x02\x90.", new Set([1, 2])],
    ["an allowed call", "cm\nok\n(I1\nI2\ntR.", [1, 2]],
    [
      "a dict key that is special in JavaScript",
      "}X\x09\x00\x00\x00__proto__K\x01s.",
      new Map([["__proto__", 1]]),
    ],
  ])("of %s is data", (_, text, wanted) => {
    expect(pickle(text)).toEqual(wanted);
  });

  test.each<[string, string, RegExp]>([
    ["a foreign name", "cos\nsystem\n.", /GLOBAL at byte 0: the name "os.system"/],
    [
      "a name by the stack",
      "\x80\x04\x8c\x02os\x8c\x06system\x93.",
      /STACK_GLOBAL at byte 14: the name "os.system"/,
    ],
    ["a dotted name", "cm\nok.x\n.", /"m.ok.x"/],
    ["a name with a blank", "cm ok\n\n.", /not on the list/],
    ["a name as data", "cm\nok\n.", /used as data/],
    ["a call of data", "K\x01)R.", /no name/],
    ["a call with a list", "cm\nok\n]R.", /no tuple/],
    ["INST", "(im\nok\n.", /INST at byte 1: is refused: it calls a class/],
    ["OBJ", "(cm\nok\no.", /OBJ/],
    ["NEWOBJ", "cm\nok\n)\x81.", /NEWOBJ/],
    ["EXT1", "\x82\x01.", /registry/],
    ["BUILD on a dict", "}}b.", /BUILD at byte 2: sets the state/],
    ["BUILD without a rule", "cm\nok\n)R}b.", /sets the state/],
    ["a persistent id", "K\x01Q.", /not allowed here/],
    ["APPEND to a tuple", ")K\x01a.", /no list/],
    ["SETITEM on a list", "]K\x01K\x02s.", /no dict/],
    ["a key twice", "}(K\x01K\x02K\x01K\x03u.", /stands twice/],
    ["a list as a key", "}]K\x02s.", /dict key/],
    ["a key without a value", "}(K\x01u.", /no value/],
    ["underflow", "0.", /stack is empty/],
    ["underflow below a mark", "K\x01(0.", /stack is empty/],
    ["no mark", "t.", /no mark/],
    ["left-over values", "K\x01K\x02.", /leaves values/],
    ["an empty memo", "h\x05.", /memo 5 is empty/],
    ["a memo written twice", "K\x01q\x00q\x00.", /written twice/],
    ["text past the end", "X\xff\xff\xff\x7fa.", /takes 2147483647 bytes, 2 are left/],
    ["text of 2^63 bytes", "\x8d\x00\x00\x00\x00\x00\x00\x00\x80a.", /takes 9223372036854775808/],
    ["bad UTF-8", "X\x01\x00\x00\x00\xff.", /UTF-8/],
    ["a huge integer", `\x8a\xff${"\x01".repeat(255)}.`, /255 bytes/],
    ["an integer with a NUL", "I4\x002\n.", /no integer/],
    ["a hex integer", "L0x10L\n.", /no integer/],
    ["no STOP", "K\x01", /takes 1 bytes, 0 are left/],
    ["PROTO inside", "K\x01\x80\x02.", /inside the stream/],
    ["protocol 6", "\x80\x06N.", /protocol 6/],
    [
      "a frame inside a frame",
      "\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x95\x01\x00\x00\x00\x00\x00\x00\x00N.\x00",
      /inside a frame/,
    ],
    [
      "an opcode across a frame's end",
      "\x95\x01\x00\x00\x00\x00\x00\x00\x00K\x01.",
      /crosses the end/,
    ],
    ["a list that holds itself", "]q\x00h\x00a.", /contains itself/],
    ["deep nesting", `${"]".repeat(300)}${"a".repeat(299)}.`, /deeper than 200/],
    ["an unknown opcode", "\xfe.", /0xfe at byte 0: is refused/],
  ])("with %s is refused", (_, text, why) => {
    expect(() => pickle(text)).toThrow(why);
    expect(() => pickle(text)).toThrow(InputError);
  });

  test("stays within its limits", () => {
    expect(() => pickle("N".repeat(100), { maxStack: 50 })).toThrow(/stack exceeds 50/);
    expect(() => pickle("N0".repeat(100), { maxOps: 50 })).toThrow(/more than 50 opcodes/);
    expect(() => pickle("N\x94".repeat(100), { maxMemo: 50 })).toThrow(/memo exceeds 50/);
  });

  test("that doubles a list by reference is small, and not walked without end", () => {
    const byte = (i: number) => String.fromCharCode(i);
    const doubled = Array.from(
      { length: 60 },
      (_, i) => `0](h${byte(i)}h${byte(i)}eq${byte(i + 1)}`,
    );
    const value = pickle(`]q\x00${doubled.join("")}.`);
    expect(value).toHaveLength(2);
    expect(() => collectTensors(value)).toThrow(/a bomb/);
  });

  test("of random bytes gives data or an InputError", () => {
    const opcodes = fc.constantFrom(..."(]})ae.RbcQ0qh\x94\x93tusK\x01NXU\x80\x02\n");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(opcodes, { maxLength: 60 }).map((a) => a.join("")),
          fc.string({ unit: "binary" }),
        ),
        (text) => {
          try {
            pickle(text);
          } catch (error) {
            if (!(error instanceof InputError)) throw error;
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});
