/** ONNX files against an independent protobuf library, the engine that runs them, and damage. */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import onnxProto from "onnx-proto";
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { sharedTest } from "../../test/shared.ts";
import type { DType, Tensor } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { type OnnxModel, readOnnx, withExternalWeights, writeOnnx } from "./onnx.ts";
import { encodeMessage } from "./protobuf.ts";

const { onnx } = onnxProto;

const tensor = (dtype: DType, shape: number[], data: Tensor["data"]): Tensor => ({
  dtype,
  shape,
  data,
});

const every: Record<DType, Tensor> = {
  float32: tensor("float32", [2, 2], Float32Array.of(1.5, -2, Number.NaN, 3e38)),
  float64: tensor("float64", [1], Float64Array.of(Math.PI)),
  float16: tensor("float16", [3], Uint16Array.of(0x3c00, 0x7c00, 1)),
  bfloat16: tensor("bfloat16", [2], Uint16Array.of(0x3f80, 0xff80)),
  int64: tensor("int64", [2], BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n)),
  int32: tensor("int32", [], Int32Array.of(-7)),
  int16: tensor("int16", [2], Int16Array.of(-32768, 5)),
  int8: tensor("int8", [0, 4], new Int8Array(0)),
  uint8: tensor("uint8", [2], Uint8Array.of(0, 255)),
  bool: tensor("bool", [2], Uint8Array.of(0, 1)),
};

/** Y = X W + b, then a residual scaled by an attribute; uses every kind of attribute once. */
const full: Required<OnnxModel> = {
  irVersion: 10,
  opsets: { "": 21, "com.microsoft": 1 },
  producer: "test",
  graph: {
    name: "g",
    nodes: [
      {
        op: "Everything",
        domain: "com.microsoft",
        name: "blocks.0/é",
        inputs: ["x", "", "w"],
        outputs: ["y"],
        attrs: {
          a: { kind: "int", value: -1 },
          b: { kind: "ints", value: [0, -3, 2 ** 40, 9223372036854775807n] },
          c: { kind: "float", value: Math.fround(0.1) },
          d: { kind: "floats", value: [1, -0.5] },
          e: { kind: "string", value: "SAME_UPPER" },
          f: { kind: "strings", value: ["a", "ü"] },
          g: { kind: "tensor", value: every.float16 },
        },
      },
    ],
    inputs: [{ name: "x", dtype: "float32", shape: ["B", 2, ""] }],
    outputs: [
      { name: "y", dtype: "float16", shape: [] },
      { name: "ys", dtype: "int64", shape: [2, "L"], sequence: true },
    ],
    initializers: [
      ...Object.entries(every).map(([name, t]) => ({ name, tensor: t })),
      {
        name: "out",
        dtype: "float32",
        shape: [3],
        external: { location: "sub/w.bin", offset: 4096, length: 12 },
      },
    ],
  },
};

const gemm: OnnxModel = {
  graph: {
    name: "gemm",
    nodes: [
      { op: "MatMul", domain: "", name: "mm", inputs: ["x", "w"], outputs: ["h"], attrs: {} },
      {
        op: "Transpose",
        domain: "",
        name: "t",
        inputs: ["h"],
        outputs: ["y"],
        attrs: { perm: { kind: "ints", value: [1, 0] } },
      },
    ],
    inputs: [{ name: "x", dtype: "float32", shape: ["B", 2] }],
    outputs: [{ name: "y", dtype: "float32", shape: [3, "B"] }],
    initializers: [
      { name: "w", tensor: tensor("float32", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6)) },
    ],
  },
};

const runGemm = async (model: Uint8Array, options: ort.InferenceSession.SessionOptions = {}) => {
  const session = await ort.InferenceSession.create(model, options);
  const x = new ort.Tensor("float32", Float32Array.of(1, 0, 10, 1), [2, 2]);
  const { y } = await session.run({ x });
  return [...(y!.data as Float32Array)];
};

describe("an ONNX model", () => {
  test("comes back as it was written, whatever its types and attributes", () => {
    expect(readOnnx(writeOnnx(full))).toEqual(full);
  });

  test("is the same bytes for the same data", () => {
    expect(writeOnnx(full)).toEqual(writeOnnx(structuredClone(full)));
  });

  test("is understood by an independent protobuf library, and that one's output by us", () => {
    const theirs = onnx.ModelProto.decode(writeOnnx(full));
    expect(onnx.ModelProto.verify(theirs)).toBeNull();
    expect(theirs.graph?.node?.[0]?.input).toEqual(["x", "", "w"]);
    expect(Number(theirs.opsetImport[0]?.version)).toBe(21);
    expect(theirs.graph?.initializer?.map((t) => t.name)).toEqual([...Object.keys(every), "out"]);
    expect(theirs.graph?.input?.[0]?.type?.tensorType?.shape?.dim?.[0]?.dimParam).toBe("B");
    const again = onnx.ModelProto.encode(theirs).finish();
    expect(readOnnx(Uint8Array.from(again))).toEqual(full);
  });

  test("may keep elements in typed lists instead of raw bytes", () => {
    const bytes = onnx.ModelProto.encode({
      irVersion: 8,
      graph: {
        name: "g",
        initializer: [
          { name: "f", dims: [2], dataType: 1, floatData: [0.5, -1] },
          { name: "h", dims: [1], dataType: 10, int32Data: [0x3c00] },
          { name: "b", dims: [2], dataType: 9, int32Data: [1, 0] },
          { name: "i", dims: [1], dataType: 7, int64Data: [-5] },
          { name: "d", dims: [], dataType: 11, doubleData: [0.1] },
        ],
      },
    }).finish();
    const got = readOnnx(bytes).graph.initializers.map((i) => ("tensor" in i ? i.tensor.data : 0));
    expect(got).toEqual([
      Float32Array.of(0.5, -1),
      Uint16Array.of(0x3c00),
      Uint8Array.of(1, 0),
      BigInt64Array.of(-5n),
      Float64Array.of(0.1),
    ]);
  });

  test("runs in ONNX Runtime", async () => {
    expect(await runGemm(writeOnnx(gemm))).toEqual([1, 14, 2, 25, 3, 36]);
  });

  test("runs with its weights outside", async () => {
    const { model, parts, size } = withExternalWeights(gemm, { minBytes: 1, align: 64 });
    const data = new Uint8Array(size);
    for (const { offset, bytes } of parts) data.set(bytes, offset);
    const externalData = [{ path: "weights.bin", data }];
    expect(await runGemm(writeOnnx(model), { externalData })).toEqual([1, 14, 2, 25, 3, 36]);
    expect(readOnnx(writeOnnx(model)).graph.initializers[0]).toEqual({
      name: "w",
      dtype: "float32",
      shape: [2, 3],
      external: { location: "weights.bin", offset: 0, length: 24 },
    });
  });

  test("whose tensor does not fill its shape is not written", () => {
    const wrong = tensor("float32", [3], Float32Array.of(1));
    const graph = { ...gemm.graph, initializers: [{ name: "w", tensor: wrong }] };
    expect(() => writeOnnx({ graph })).toThrow(RangeError);
  });
});

describe("a bad ONNX file is refused with a sentence:", () => {
  const external = (pairs: Record<string, string>) =>
    onnx.ModelProto.encode({
      graph: {
        initializer: [
          {
            name: "w",
            dims: [2],
            dataType: 1,
            dataLocation: 1,
            externalData: Object.entries(pairs).map(([key, value]) => ({ key, value })),
          },
        ],
      },
    }).finish();

  test.each([
    ["../w.bin"],
    ["a/../../w.bin"],
    ["/etc/passwd"],
    ["a\\..\\w"],
    ["http://x/w"],
    ["file:w"],
    ["w\0"],
    [""],
    ["./w"],
  ])("weights at %j", (location) => {
    expect(() => readOnnx(external({ location }))).toThrow(/not a path inside/);
  });

  test("weights of the wrong length, or a key twice", () => {
    expect(() => readOnnx(external({ location: "w", length: "7" }))).toThrow(/length 7/);
    expect(() => readOnnx(external({ location: "w", offset: "-1" }))).toThrow(/byte count/);
  });

  test("raw data shorter than its shape", () => {
    const bytes = onnx.ModelProto.encode({
      graph: {
        initializer: [{ name: "w", dims: [2 ** 40], dataType: 1, rawData: new Uint8Array(8) }],
      },
    }).finish();
    expect(() => readOnnx(bytes)).toThrow(/takes 4398046511104 bytes, the file holds 8/);
  });

  test("functions, subgraphs, sequences", () => {
    const model = (graph: object, rest: object = {}) =>
      onnx.ModelProto.encode({
        graph,
        opsetImport: [{ domain: "", version: 21 }],
        ...rest,
      }).finish();
    expect(() => readOnnx(model({}, { functions: [{ name: "f" }] }))).toThrow(/local functions/);
    const node = [{ opType: "If", attribute: [{ name: "then_branch", type: 5, g: {} }] }];
    expect(() => readOnnx(model({ node }))).toThrow(/type 5 is not supported/);
    const input = [{ name: "x", type: { sequenceType: {} } }];
    expect(() => readOnnx(model({ input }))).toThrow(/no tensor/);
  });

  test("a single field twice", () => {
    const twice = encodeMessage({ a: [2, "string"], b: [2, "string"] }, { a: "x", b: "y" });
    expect(() => readOnnx(twice)).toThrow(/stands twice/);
  });

  test("any cut or changed byte gives an InputError or a model, never another error", () => {
    const good = writeOnnx(full);
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(edits, fc.nat(good.length), (changes, length) => {
        const bytes = good.slice();
        for (const [at, to] of changes) bytes[at] = to;
        try {
          readOnnx(bytes.subarray(0, length));
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe("ONNX files from elsewhere:", () => {
  sharedTest("a real network is read", "data/mobilenet_v2_imagenet.onnx", (file) => {
    const { graph } = readOnnx(readFileSync(file!));
    expect(graph.inputs[0]?.shape?.slice(1)).toEqual([3, 224, 224]);
    expect(graph.nodes.length).toBeGreaterThan(50);
  });

  const guard = "fixtures/guard/onnx/";
  for (const name of ["identity", "with_init"])
    sharedTest(`${name} is read`, `${guard}benign/${name}.onnx`, (file) => {
      expect(readOnnx(readFileSync(file!)).graph.nodes.length).toBeGreaterThan(0);
    });
  for (const name of [
    "corrupt/len_2_60",
    "malicious/custom_op_pyop",
    "malicious/external_file_url",
    "malicious/external_proc",
    "malicious/external_traversal_mid",
    "malicious/external_url",
  ])
    sharedTest(`${name} is refused`, `${guard}${name}.onnx`, (file) => {
      expect(() => readOnnx(readFileSync(file!))).toThrow(InputError);
    });
});
