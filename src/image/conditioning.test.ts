/** Classes are computed once, all that are new together, and come in the order asked for. */

import { expect, test } from "vitest";
import type { Tensor } from "../formats/dtype.ts";
import { classRows, type KnownClasses } from "./conditioning.ts";

/** One row of `width` numbers for each label, all its own number; notes what was asked. */
function counting(width: number) {
  const asked: number[][] = [];
  const compute = async ({ data }: Tensor) => {
    const labels = Array.from(data as BigInt64Array, Number);
    asked.push(labels);
    const values = Float32Array.from(
      { length: labels.length * width },
      (_, i) => labels[Math.floor(i / width)]!,
    );
    return { head: { dtype: "float32", shape: [labels.length, width], data: values } as Tensor };
  };
  return { asked, compute };
}

test("what is known is not computed again, what is new in one go", async () => {
  const known: KnownClasses = new Map();
  const { asked, compute } = counting(2);
  const first = await classRows(known, [3, 1, 3], compute);
  expect(first.head).toEqual({
    dtype: "float32",
    shape: [3, 2],
    data: Float32Array.of(3, 3, 1, 1, 3, 3),
  });
  const second = await classRows(known, [7, 1, 8], compute);
  expect([...(second.head!.data as Float32Array)]).toEqual([7, 7, 1, 1, 8, 8]);
  expect(asked).toEqual([
    [3, 1],
    [7, 8],
  ]);
});

test("the longest unused are forgotten when there are too many", async () => {
  const known: KnownClasses = new Map();
  const { asked, compute } = counting(2 ** 21); // 8 MiB a class: four are kept
  for (const label of [0, 1, 2, 3, 0, 4]) await classRows(known, [label], compute);
  expect([...known.keys()]).toEqual([2, 3, 0, 4]);
  const { head } = await classRows(known, [0, 1, 2, 3, 4, 5], compute); // more than are kept, all the same
  expect(head!.shape).toEqual([6, 2 ** 21]);
  expect(asked.at(-1)).toEqual([1, 5]);
});
