/** Gradients of the 2-D convolution, written as the operators that run fastest. Rules for other ops: vjp.ts. */

import type { Attrs, Value } from "./graph.ts";
import { addNode, ints } from "./graph.ts";
import * as o from "./ops.ts";
import { staticShape } from "./shape.ts";

type Quad = [number, number, number, number];
const geometry = (attrs: Attrs) => ({
  stride: (attrs.strides as readonly number[])[0]!,
  pads: attrs.pads as unknown as Quad, // top left bottom right
});

/** dx: a convolution with the flipped kernel where the stride is 1, a transposed convolution elsewhere. */
export function convInputGradient(x: Value, w: Value, g: Value, attrs: Attrs): Value {
  const { stride, pads } = geometry(attrs);
  const [top, left, bottom, right] = pads;
  const [, , kh, kw] = staticShape(w.shape, "Conv") as Quad;
  const [, , H, W] = staticShape(x.shape, "Conv") as Quad;
  if (stride === 1 && Math.max(top, bottom) < kh && Math.max(left, right) < kw) {
    let flipped = o.transpose(w, [1, 0, 2, 3]); // C O kh kw
    if (kh > 1 || kw > 1) {
      const gr = w.graph;
      const [ends, minus] = [-Number.MAX_SAFE_INTEGER, -1];
      flipped = addNode(gr, "Slice", [
        flipped,
        ints(gr, [minus, minus]),
        ints(gr, [ends, ends]),
        ints(gr, [2, 3]),
        ints(gr, [minus, minus]),
      ])[0]!;
    }
    return o.conv2d(g, flipped, {
      pad: [kh - 1 - top, kw - 1 - left, kh - 1 - bottom, kw - 1 - right],
    });
  }
  const [, , h, v] = staticShape(g.shape, "Conv") as Quad;
  const rest = [
    H - (stride * (h - 1) + kh - top - bottom),
    W - (stride * (v - 1) + kw - left - right),
  ];
  return addNode(g.graph, "ConvTranspose", [g, w], {
    kernel_shape: [kh, kw],
    strides: [stride, stride],
    pads: [...pads],
    output_padding: rest,
  })[0]!;
}

/** dw: the kh·kw shifted views of the image, stacked, times the gradient: one batched product. */
export function convWeightGradient(x: Value, w: Value, g: Value, attrs: Attrs): Value {
  const { stride, pads } = geometry(attrs);
  const [top, left, bottom, right] = pads;
  const [O, C, kh, kw] = staticShape(w.shape, "Conv") as Quad;
  const [B, , h, v] = staticShape(g.shape, "Conv") as Quad;
  const padded = pads.some(Boolean)
    ? o.pad(x, [
        [0, 0],
        [0, 0],
        [top, bottom],
        [left, right],
      ])
    : x;
  const views: Value[] = [];
  for (let i = 0; i < kh; i++)
    for (let j = 0; j < kw; j++) views.push(window(padded, [i, j], [h, v], stride));
  const patches = o.reshape(o.concat(views, 1), [B, kh * kw * C, h * v]);
  const perImage = o.matmul(o.reshape(g, [B, O, h * v]), patches, { transB: true }); // B O khkwC
  const total = o.sum(perImage, { axes: [0] });
  return o.transpose(o.reshape(total, [O, kh, kw, C]), [0, 3, 1, 2]);
}

function window(x: Value, from: readonly number[], size: readonly number[], stride: number): Value {
  const [H, W] = x.shape.slice(2) as [number, number];
  if (stride === 1 && size[0] === H && size[1] === W) return x;
  const gr = x.graph;
  const ends = from.map((f, i) => f + (size[i]! - 1) * stride + 1);
  return addNode(gr, "Slice", [
    x,
    ints(gr, from),
    ints(gr, ends),
    ints(gr, [2, 3]),
    ints(gr, [stride, stride]),
  ])[0]!;
}
