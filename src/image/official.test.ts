/** The table of official models against the layouts that follow from their depth, and where files are asked for. */

import { describe, expect, test } from "vitest";
import { BYTES, sizeOf } from "../formats/dtype.ts";
import type { ParamSpec } from "../nn/spec.ts";
import { varConfig, vqvaeConfig } from "./config.ts";
import { OFFICIAL_MODELS, officialSources, plausibleSize } from "./official.ts";
import { PATCH_NUMS } from "./scales.ts";
import { varSpecs } from "./var-layout.ts";
import { vqvaeSpecs } from "./vqvae-layout.ts";

const bytesOf = (specs: readonly ParamSpec[]): number =>
  specs.reduce((sum, { shape, dtype }) => sum + sizeOf(shape) * BYTES[dtype], 0);

describe("the official models", () => {
  test.each(OFFICIAL_MODELS)("$name has the bytes of its layout", (model) => {
    const { name, depth, size, classes } = model;
    expect(name).toBe(`var-d${depth}`);
    expect(model.var.file).toBe(`var_d${depth}.pth`);
    const patchNums = PATCH_NUMS[size / 16]!;
    const config = varConfig(depth, { patchNums, classes, sharedAdaLN: size === 512 });
    expect(model.var.bytes).toBe(bytesOf(varSpecs(config)));
    expect(model.vqvae.bytes).toBe(bytesOf(vqvaeSpecs(vqvaeConfig())));
  });

  test("may be in half precision, but are no login page and no trap", () => {
    const [least, most] = plausibleSize({ file: "f", bytes: 1e9 });
    expect(least).toBeLessThan(5e8);
    expect(least).toBeGreaterThan(1e8);
    expect(most).toBeLessThan(2e9);
  });
});

describe("sources", () => {
  const file = OFFICIAL_MODELS[0]!.var;

  test("are the hub, another hub, or mirrors in turn", () => {
    const path = "FoundationVision/var/resolve/main/var_d16.pth";
    expect(officialSources(file, {})).toEqual([`https://huggingface.co/${path}`]);
    expect(officialSources(file, { HF_ENDPOINT: "https://hub.example/" })).toEqual([
      `https://hub.example/${path}`,
    ]);
    const mirrors = "https://a.example/var/, https://b.example";
    expect(
      officialSources(file, { UNDERPAINT_MODEL_MIRROR: mirrors, HF_ENDPOINT: "https://c.example" }),
    ).toEqual(["https://a.example/var/var_d16.pth", "https://b.example/var_d16.pth"]);
  });
});
