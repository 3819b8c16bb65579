/** The running mean of weights. */

import { expect, test } from "vitest";
import { tensor } from "../../test/conformance/tensors.ts";
import { startEma, trackEma } from "./ema.ts";

const weights = (x: number) => new Map([["w", tensor([2], [x, -x])]]);

test("starts at the weights without sharing their memory, and moves by 1 - decay", () => {
  const at = weights(1);
  const ema = startEma(at);
  at.get("w")!.data[0] = 50;
  expect([...ema.get("w")!.data]).toEqual([1, -1]);
  trackEma(ema, weights(2), { decay: 0.75, step: 1e6 });
  expect([...ema.get("w")!.data]).toEqual([1.25, -1.25]);
});

test("remembers little at first: after update 1 the decay is 2 / 11", () => {
  const ema = startEma(weights(0));
  trackEma(ema, weights(11), { decay: 0.999, step: 1 });
  expect(ema.get("w")!.data[0]).toBeCloseTo(9, 5);
});

test("goes on from a checkpoint, and refuses one without it", () => {
  const saved = new Map([["w", tensor([2], [3, 4])]]);
  expect([...startEma(weights(0), saved).get("w")!.data]).toEqual([3, 4]);
  expect(() => startEma(weights(0), new Map())).toThrow(
    /mean of "w" should be float32\[2\], found nothing/,
  );
});
