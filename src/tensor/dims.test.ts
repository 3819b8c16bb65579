/** Sizes and names of dimensions multiply, divide and bind. */

import { expect, test } from "vitest";
import { addDims, bindDims, countOf, quotient, sizeOfDim } from "./dims.ts";

test("elements of a shape with names are a product", () => {
  expect(countOf([2, "B", 3])).toBe("6*B");
  expect(countOf([2, 3])).toBe(6);
  expect(countOf(["P+L", 2])).toBe("2*(P+L)");
  expect(countOf(["P+L"])).toBe("P+L");
  expect(countOf(["B", 0])).toBe(0);
});

test("what is left of a shape is found through numbers, names and sums", () => {
  expect(quotient(["B", 12], [3])).toBe("4*B");
  expect(quotient(["4*B", 5], [4, 5])).toBe("B");
  expect(quotient(["B", "P+L", 2], ["B", 2])).toBe("P+L");
  expect(quotient(["2*(P+L)"], [2])).toBe("P+L");
  expect(quotient(["B", 3], ["L"])).toBeUndefined();
  expect(quotient([7], [2])).toBeUndefined();
});

test("compound names are worth what their parts are worth", () => {
  const bound = new Map([
    ["P", 3],
    ["L", 2],
  ]);
  expect(sizeOfDim(addDims("P", "L"), bound)).toBe(5);
  expect(sizeOfDim(addDims("P", 4), bound)).toBe(7);
  expect(sizeOfDim("2*(P+L)", bound)).toBe(10);
  expect(sizeOfDim("(P+L)*L", bound)).toBe(10);
  expect(sizeOfDim("Q+L", bound)).toBeUndefined();
  bindDims(["Q", "P"], [9, 8], bound);
  expect([bound.get("Q"), bound.get("P")]).toEqual([9, 3]);
});
