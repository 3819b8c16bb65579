/** The resize matrices against PyTorch's outputs and by hand; the choice of phi; masks of edits. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readGolden } from "../../test/read-safetensors.ts";
import { sharedTest } from "../../test/shared.ts";
import {
  areaMatrix,
  bicubicMatrix,
  bilinearMatrix,
  maskAtScale,
  phiIndex,
  resizeMaps,
} from "./quantizer-math.ts";

const GOLDEN = "fixtures/var/golden_vae.safetensors";

describe("phi", () => {
  test.each([
    [10, [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]],
    [14, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]],
    [8, [0, 0, 1, 1, 2, 2, 3, 3]],
    [5, [0, 1, 2, 2, 3]],
    [4, [0, 1, 2, 3]],
    [3, [0, 2, 3]],
    [1, [0]],
  ])("%i scales share four convolutions as in the official code", (scales, expected) => {
    expect(phiIndex(scales, 4)).toEqual(expected);
  });

  test("one convolution serves all scales, one each serves its own", () => {
    expect(phiIndex(7, 1)).toEqual([0, 0, 0, 0, 0, 0, 0]);
    for (const n of [2, 3, 5, 7, 10]) expect(phiIndex(n, n)).toEqual([...Array(n).keys()]);
  });
});

describe("resizing", () => {
  test("area averages the cells that touch each output cell", () => {
    expect(areaMatrix(4, 2)).toEqual({
      dtype: "float32",
      shape: [2, 4],
      data: Float32Array.of(0.5, 0.5, 0, 0, 0, 0, 0.5, 0.5),
    });
    const third = 1 / 3;
    expect([...areaMatrix(5, 2).data]).toEqual(
      [third, third, third, 0, 0, 0, 0, third, third, third].map(Math.fround),
    );
  });

  test("bicubic doubles with the taps of A = -0.75, clamped at the border", () => {
    // Output 2 lies at 0.75: taps at -1, 0, 1, 2 weigh k(1.75), k(0.75), k(0.25), k(1.25) by Keys' formula.
    const [before, left, right, after] = [-0.03515625, 0.26171875, 0.87890625, -0.10546875];
    const row = [...bicubicMatrix(4, 8).data.slice(8, 12)];
    expect(row).toEqual([before! + left!, right, after, 0]);
  });

  test("a resize to the same size changes nothing", () => {
    for (const make of [areaMatrix, bicubicMatrix, bilinearMatrix]) {
      expect([...make(3, 3).data]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
    }
  });

  test("every row sums to one, so a flat map stays flat", () => {
    for (const make of [areaMatrix, bicubicMatrix, bilinearMatrix]) {
      for (let from = 1; from <= 20; from++) {
        for (let to = 1; to <= 20; to++) {
          const { data } = make(from, to);
          for (let i = 0; i < to; i++) {
            let sum = 0;
            for (let j = 0; j < from; j++) sum += Number(data[i * from + j]);
            expect(Math.abs(sum - 1)).toBeLessThan(3e-7); // float32 rounding of up to 20 weights
          }
        }
      }
    }
  });

  test("a side of nothing is refused", () => {
    expect(() => areaMatrix(0, 2)).toThrow("resize matrix: from is 0, want a side of at least 1");
    expect(() => bicubicMatrix(2, 1.5)).toThrow("to is 1.5");
  });

  sharedTest("every golden resize of PyTorch is met within 1e-6", GOLDEN, (file) => {
    const { tensors } = readGolden(file);
    let seen = 0;
    for (const [name, { data }] of tensors) {
      const [, kind, from, to] = /^interp\.(area|bicubic)\.(\d+)to(\d+)$/.exec(name) ?? [];
      if (kind === undefined) continue;
      seen++;
      const make = kind === "area" ? areaMatrix : bicubicMatrix;
      const source = tensors.get(kind === "area" ? `interp.x${from}` : `interp.bicubic.in${from}`)!;
      const matrix = make(Number(from), Number(to));
      const ours = resizeMaps([matrix, matrix], source.data as Float32Array);
      expect(ours.length).toBe(data.length);
      for (const [i, v] of ours.entries()) {
        expect(Math.abs(v - Number(data[i])), `${name}[${i}]`).toBeLessThan(1e-6);
      }
    }
    expect(seen).toBe(14);
  });
});

describe("masks", () => {
  sharedTest(
    "a mask at every scale is the official editor's",
    "fixtures/var/edit_mask_16.json",
    (file) => {
      const { mask16, force_gt_per_scale } = JSON.parse(readFileSync(file, "utf8")) as {
        mask16: number[][];
        force_gt_per_scale: Record<string, number[][]>;
      };
      for (const [pn, rows] of Object.entries(force_gt_per_scale)) {
        expect([...maskAtScale(mask16.flat(), [16, 16], Number(pn))], `side ${pn}`).toEqual(
          rows.flat(),
        );
      }
    },
  );

  test("exactly one half generates, and the first scale is always kept", () => {
    expect([...maskAtScale([1, 0, 1, 0], [2, 2], 1)]).toEqual([1]);
    const halves = Array.from({ length: 16 }, (_, i) => i % 2);
    expect([...maskAtScale(halves, [4, 4], 2)]).toEqual([0, 0, 0, 0]);
  });
});
