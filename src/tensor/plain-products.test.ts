/** Products without FusedMatMul: the same numbers from plain operators. */

import { expect, test } from "vitest";
import { CASES } from "../../test/conformance/cases.ts";
import { buildCase, expectClose } from "../../test/conformance/conformance.ts";
import { reference } from "./backends/reference.ts";
import { plainProducts } from "./plain-products.ts";

const fused = CASES.filter((item) => buildCase(item).nodes.some(({ op }) => op === "FusedMatMul"));

test("there are products to try, with every attribute", () => {
  const attrs = fused.flatMap((item) => buildCase(item).nodes.map((node) => node.attrs));
  for (const name of ["transA", "transB"]) expect(attrs.some((of) => of[name] === 1)).toBe(true);
  expect(attrs.some(({ alpha }) => alpha !== undefined && alpha !== 1)).toBe(true);
});

test.each(fused.map((item) => [item.name, item] as const))("%s is the same", async (_, item) => {
  const g = buildCase(item);
  const plain = plainProducts(g);
  expect(plain.nodes.map(({ op }) => op)).not.toContain("FusedMatMul");
  const [want, got] = await Promise.all(
    [g, plain].map(async (one) => (await reference().compile(one)).run(item.feeds)),
  );
  for (const name of Object.keys(want!)) expectClose(got![name]!, want![name]!, { what: name });
});

test("a graph without them stays the very graph", () => {
  const g = buildCase(CASES.find((item) => !fused.includes(item))!);
  expect(plainProducts(g)).toBe(g);
});
