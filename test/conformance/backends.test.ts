/** Runs the conformance suite on every backend that works in Node. */

import { expect, test } from "vitest";
import { ortNode } from "../../src/tensor/backends/ort-node.ts";
import { ortWeb } from "../../src/tensor/backends/ort-web.ts";
import { kernels } from "../../src/tensor/backends/reference/kernels.ts";
import { reference } from "../../src/tensor/backends/reference.ts";
import { infer } from "../../src/tensor/infer.ts";
import { NO_GRADIENT, vjp } from "../../src/tensor/vjp.ts";
import { CASES } from "./cases.ts";
import { buildCase, conformance, expectClose } from "./conformance.ts";
import { SKIPPED_ON_ORT_WEB } from "./skips.ts";

conformance({ name: "reference", make: () => reference() });
conformance({ name: "ort-node", make: () => ortNode() });
conformance({ name: "ort-web", make: () => ortWeb(), skip: SKIPPED_ON_ORT_WEB });

const ops = Object.keys(infer).sort();

test("every op has a reference kernel", () => {
  expect(Object.keys(kernels).sort()).toEqual(ops);
});

test("every op has a gradient rule or a reason for having none", () => {
  expect([...Object.keys(vjp), ...Object.keys(NO_GRADIENT)].sort()).toEqual(ops);
});

test("every op is in the conformance suite", () => {
  const covered = new Set(CASES.flatMap((c) => buildCase(c).nodes.map((n) => n.op)));
  expect(ops.filter((op) => !covered.has(op))).toEqual([]);
});

test("ort-web says that it cannot profile", async () => {
  const backend = await ortWeb();
  const g = buildCase(CASES[0]!);
  await expect(backend.compile(g, { profile: true })).rejects.toThrow("ort-web cannot profile");
});

test("upsample2xConv is the convolution of the doubled image", async () => {
  const item = CASES.find((c) => c.name.startsWith("upsample2xConv"))!;
  const session = await reference().compile(buildCase(item));
  const { y0, y1 } = await session.run(item.feeds);
  expectClose(y0!, y1!);
});
