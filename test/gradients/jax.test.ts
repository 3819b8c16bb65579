/** Values and gradients against jax-js, an autodiff by other people: ops, a small conv net, an attention block. */

import { init, lax, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tensor } from "../../src/formats/dtype.ts";
import { ortNode } from "../../src/tensor/backends/ort-node.ts";
import { grad } from "../../src/tensor/grad.ts";
import { createGraph, input, output, type Value } from "../../src/tensor/graph.ts";
import * as o from "../../src/tensor/ops.ts";
import { rng } from "../../src/tensor/rng.ts";
import { distinct, floats, integers, numbers, tensor } from "../conformance/tensors.ts";

type Arr = np.Array;

interface Pair {
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** A scalar loss, by us and by them. Their arrays are consumed by use: `.ref` keeps one. */
  readonly ours: (v: Readonly<Record<string, Value>>) => Value;
  readonly theirs: (v: Readonly<Record<string, Arr>>) => Arr;
}

/** Both sides compute in float32; sums of a few hundred terms differ in the last digits. */
const TOLERANCE = 2e-5;

const r = rng(11);
const f = (name: string, shape: readonly number[], low = -1.5, high = 1.5) =>
  floats(r.child(name), shape, { low, high });

const unary = (
  ours: (x: Value) => Value,
  theirs: (x: Arr) => Arr,
  x: Tensor = f("unary", [3, 5]),
): Pair => ({
  feeds: { x, w: f("weights", x.shape) },
  ours: ({ x, w }) => o.sum(o.mul(ours(x!), w!)),
  theirs: ({ x, w }) => np.sum(theirs(x!).mul(w!)),
});
const positive = f("positive", [3, 5], 0.3, 3);
const apart = distinct(r.child("apart"), [3, 5]);

const binary = (
  ours: (a: Value, b: Value) => Value,
  theirs: (a: Arr, b: Arr) => Arr,
  low = -1.5,
): Pair => ({
  feeds: { a: f("a", [2, 3, 4], low), b: f("b", [3, 1], low), w: f("w", [2, 3, 4]) },
  ours: ({ a, b, w }) => o.sum(o.mul(ours(a!, b!), w!)),
  theirs: ({ a, b, w }) => np.sum(theirs(a!, b!).mul(w!)),
});

const folded = (ours: (x: Value) => Value, theirs: (x: Arr) => Arr): Pair => ({
  feeds: { x: distinct(r.child("fold"), [4, 5]), w: f("fold w", [4]) },
  ours: ({ x, w }) => o.sum(o.mul(ours(x!), w!)),
  theirs: ({ x, w }) => np.sum(theirs(x!).mul(w!)),
});

const conv = (
  stride: number,
  [top, left, bottom, right]: readonly [number, number, number, number],
): Pair => ({
  feeds: { x: f("image", [2, 3, 7, 6]), w: f("kernel", [4, 3, 3, 3]) },
  ours: ({ x, w }) =>
    o.sum(o.square(o.conv2d(x!, w!, { stride, pad: [top, left, bottom, right] }))),
  theirs: ({ x, w }) =>
    np.sum(
      np.square(
        lax.convGeneralDilated(
          x!,
          w!,
          [stride, stride],
          [
            [top, bottom],
            [left, right],
          ],
        ),
      ),
    ),
});

/** (x − mean) / √(var + eps) along the last axis, spelled out. */
const standardize = (x: Arr, eps: number): Arr => {
  const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }));
  const variance = np.mean(np.square(centred.ref), -1, { keepdims: true });
  return centred.div(np.sqrt(variance.add(eps)));
};

const PAIRS: Readonly<Record<string, Pair>> = {
  exp: unary(o.exp, np.exp),
  log: unary(o.log, np.log, positive),
  sqrt: unary(o.sqrt, np.sqrt, positive),
  reciprocal: unary(o.reciprocal, np.reciprocal, positive),
  tanh: unary(o.tanh, np.tanh),
  sigmoid: unary(o.sigmoid, nn.sigmoid),
  erf: unary(o.erf, lax.erf),
  relu: unary(o.relu, nn.relu, apart),
  abs: unary(o.abs, np.abs, apart),
  clip: unary(
    (x) => o.clip(x, -0.5, 0.8),
    (x) => np.clip(x, -0.5, 0.8),
    apart,
  ),
  silu: unary(o.silu, nn.silu),
  gelu: unary(o.gelu, (x) => nn.gelu(x, { approximate: true })),
  softmax: unary(o.softmax, (x) => nn.softmax(x, -1)),
  "softmax of the first axis": unary(
    (x) => o.softmax(x, 0),
    (x) => nn.softmax(x, 0),
  ),
  logSoftmax: unary(o.logSoftmax, (x) => nn.logSoftmax(x, -1)),
  layerNorm: unary(
    (x) => o.layerNorm(x, { eps: 1e-3 }),
    (x) => standardize(x, 1e-3),
  ),
  l2Normalize: unary(
    (x) => o.l2Normalize(x),
    (x) => x.ref.div(np.sqrt(np.sum(np.square(x), -1, { keepdims: true }))),
  ),
  transpose: {
    feeds: { x: f("x", [2, 3, 4]), w: f("wt", [4, 2, 3]) },
    ours: ({ x, w }) => o.sum(o.mul(o.transpose(x!, [2, 0, 1]), w!)),
    theirs: ({ x, w }) => np.sum(np.transpose(x!, [2, 0, 1]).mul(w!)),
  },
  "slice, pad and join": {
    feeds: { x: f("x", [4, 5]), w: f("wj", [4, 8]) },
    ours: ({ x, w }) => {
      const part = o.slice(x!, { axis: 1, start: 1, end: 3 });
      const padded = o.pad(part, [
        [0, 0],
        [0, 1],
      ]);
      return o.sum(o.mul(o.concat([padded, o.square(x!)], 1), w!));
    },
    theirs: ({ x, w }) => {
      const part = x!.ref.slice([], [1, 3]);
      const padded = np.pad(part, [
        [0, 0],
        [0, 1],
      ]);
      return np.sum(np.concatenate([padded, np.square(x!)], 1).mul(w!));
    },
  },
  add: binary(o.add, np.add),
  sub: binary(o.sub, np.subtract),
  mul: binary(o.mul, np.multiply),
  div: binary(o.div, np.divide, 0.4),
  pow: binary(o.pow, np.power, 0.4),
  maximum: binary(o.maximum, np.maximum),
  minimum: binary(o.minimum, np.minimum),
  where: binary(
    (a, b) => o.where(o.greater(a, b), o.mul(a, 3), b),
    (a, b) => np.where(a.ref.greater(b.ref), a.mul(3), b),
  ),
  sum: folded(
    (x) => o.sum(x, { axes: [1] }),
    (x) => np.sum(x, 1),
  ),
  mean: folded(
    (x) => o.mean(x, { axes: [1] }),
    (x) => np.mean(x, 1),
  ),
  max: folded(
    (x) => o.max(x, { axes: [1] }),
    (x) => np.max(x, 1),
  ),
  min: folded(
    (x) => o.min(x, { axes: [1] }),
    (x) => np.min(x, 1),
  ),
  logSumExp: folded(
    (x) => o.logSumExp(x, { axes: [1] }),
    (x) => nn.logsumexp(x, 1),
  ),
  matmul: {
    feeds: { a: f("ma", [2, 3, 4]), b: f("mb", [4, 5]) },
    ours: ({ a, b }) => o.sum(o.square(o.matmul(a!, b!))),
    theirs: ({ a, b }) => np.sum(np.square(np.matmul(a!, b!))),
  },
  "conv 3x3 same": conv(1, [1, 1, 1, 1]),
  "conv 3x3 stride 2, padded right and below": conv(2, [0, 0, 1, 1]),
  "conv with uneven padding": conv(1, [2, 1, 0, 1]),
  crossEntropy: {
    feeds: { x: f("logits", [6, 5]), t: integers(r.child("t"), [6], { high: 5 }) },
    ours: ({ x, t }) => o.mean(o.crossEntropy(x!, t!)),
    theirs: ({ x, t }) => np.mean(np.sum(nn.logSoftmax(x!, -1).mul(nn.oneHot(t!, 5)), -1)).neg(),
  },
  "a look-up with repeated ids": {
    feeds: { table: f("table", [5, 3]), t: tensor([4], [2, 0, 2, 2], "int64") },
    ours: ({ table, t }) => o.sum(o.square(o.embedding(table!, t!))),
    theirs: ({ table, t }) => np.sum(np.square(np.matmul(nn.oneHot(t!, 5), table!))),
  },
  "a small conv net": {
    feeds: {
      x: f("net x", [2, 3, 8, 8]),
      w1: f("net w1", [4, 3, 3, 3], -0.4, 0.4),
      b1: f("net b1", [4]),
      w2: f("net w2", [6, 4, 3, 3], -0.4, 0.4),
      head: f("net head", [5, 6], -0.6, 0.6),
      t: integers(r.child("net t"), [2], { high: 5 }),
    },
    ours: ({ x, w1, b1, w2, head, t }) => {
      let h = o.silu(o.conv2d(x!, w1!, { bias: b1!, pad: 1 })); // 2 4 8 8
      h = o.gelu(o.conv2d(h, w2!, { stride: 2, pad: [0, 0, 1, 1] })); // 2 6 4 4
      return o.mean(o.crossEntropy(o.linear(o.mean(h, { axes: [2, 3] }), head!), t!));
    },
    theirs: ({ x, w1, b1, w2, head, t }) => {
      const same: [number, number][] = [
        [1, 1],
        [1, 1],
      ];
      const after: [number, number][] = [
        [0, 1],
        [0, 1],
      ];
      let h = lax.convGeneralDilated(x!, w1!, [1, 1], same).add(np.reshape(b1!, [4, 1, 1]));
      h = nn.silu(h);
      h = nn.gelu(lax.convGeneralDilated(h, w2!, [2, 2], after), { approximate: true });
      const logits = np.matmul(np.mean(h, [2, 3]), np.transpose(head!));
      return np.mean(np.sum(nn.logSoftmax(logits, -1).mul(nn.oneHot(t!, 5)), -1)).neg();
    },
  },
  "an attention block with residuals and a feed-forward": {
    feeds: {
      x: f("att x", [2, 4, 6]),
      qkv: f("att qkv", [18, 6], -0.5, 0.5),
      proj: f("att proj", [6, 6], -0.5, 0.5),
      gain: f("att gain", [6]),
      shift: f("att shift", [6]),
      up: f("att up", [12, 6], -0.5, 0.5),
      down: f("att down", [6, 12], -0.5, 0.5),
      mask: tensor(
        [4, 4],
        Array.from({ length: 16 }, (_, i) => (i % 4 > Math.floor(i / 4) ? -1e9 : 0)),
      ),
    },
    ours: (v) => {
      const [B, L, D, h] = [2, 4, 6, 2];
      const normal = o.layerNorm(v.x!, { weight: v.gain!, bias: v.shift!, eps: 1e-5 });
      const [q, k, u] = o
        .split(o.linear(normal, v.qkv!), [D, D, D], 2)
        .map((t) => o.transpose(o.reshape(t, [B, L, h, D / h]), [0, 2, 1, 3])); // B h L d
      const scores = o.matmul(q!, k!, { transB: true, alpha: 1 / Math.sqrt(D / h) });
      const a = o.softmax(o.add(scores, o.stopGradient(v.mask!)));
      const mixed = o.reshape(o.transpose(o.matmul(a, u!), [0, 2, 1, 3]), [B, L, D]);
      const y = o.add(v.x!, o.linear(mixed, v.proj!));
      const ffn = o.linear(o.gelu(o.linear(y, v.up!)), v.down!);
      return o.mean(o.square(o.add(y, ffn)));
    },
    theirs: (v) => {
      const [B, L, D, h] = [2, 4, 6, 2];
      const normal = standardize(v.x!.ref, 1e-5).mul(v.gain!).add(v.shift!);
      const all = np.matmul(normal, np.transpose(v.qkv!)); // B L 3D
      const part = (i: number, last: boolean) =>
        np.transpose(
          np.reshape((last ? all : all.ref).slice([], [], [i * D, (i + 1) * D]), [B, L, h, D / h]),
          [0, 2, 1, 3],
        );
      const [q, k, u] = [part(0, false), part(1, false), part(2, true)];
      const scores = np.matmul(q, np.transpose(k, [0, 1, 3, 2])).mul(1 / Math.sqrt(D / h));
      const a = nn.softmax(scores.add(lax.stopGradient(v.mask!)), -1);
      const mixed = np.reshape(np.transpose(np.matmul(a, u), [0, 2, 1, 3]), [B, L, D]);
      const y = v.x!.add(np.matmul(mixed, np.transpose(v.proj!)));
      const hidden = nn.gelu(np.matmul(y.ref, np.transpose(v.up!)), { approximate: true });
      return np.mean(np.square(y.add(np.matmul(hidden, np.transpose(v.down!)))));
    },
  },
};

describe("values and gradients agree with jax-js", () => {
  beforeAll(async () => {
    await init("cpu");
  });
  for (const [name, { feeds, ours, theirs }] of Object.entries(PAIRS))
    test(name, async () => {
      const g = createGraph();
      const values = Object.fromEntries(
        Object.entries(feeds).map(([k, t]) => [k, input(g, k, t.shape, t.dtype)]),
      );
      const loss = ours(values);
      const wrt = Object.keys(feeds).filter((k) => feeds[k]!.dtype === "float32");
      output(g, "loss", loss);
      grad(
        loss,
        wrt.map((k) => values[k]!),
      ).forEach((v, i) => {
        output(g, `d ${wrt[i]}`, v);
      });
      const session = await (await ortNode()).compile(g);
      const got = await session.run(feeds);
      await session.release();

      const indices = Object.fromEntries(
        Object.entries(feeds)
          .filter(([, t]) => t.dtype === "int64")
          .map(([k, t]) => [k, np.array(numbers(t), { dtype: np.int32 })]),
      );
      const arrays = Object.fromEntries(wrt.map((k) => [k, toJax(feeds[k]!)]));
      const [value, grads] = valueAndGrad((v: Record<string, Arr>) => theirs({ ...v, ...indices }))(
        arrays,
      );
      compare("loss", numbers(got.loss!), [...(await value.data())]);
      for (const k of wrt)
        compare(k, numbers(got[`d ${k}`]!), [...(await (grads as Record<string, Arr>)[k]!.data())]);
    });
});

const toJax = (t: Tensor): Arr => np.array(t.data as Float32Array).reshape([...t.shape]);

function compare(what: string, a: readonly number[], b: readonly number[]): void {
  expect(a.length, what).toBe(b.length);
  a.forEach((x, i) => {
    const y = b[i]!;
    if (!(Math.abs(x - y) <= TOLERANCE * Math.max(1, Math.abs(y))))
      expect.fail(`${what}[${i}]: ${x} by us, ${y} by jax-js`);
  });
}
