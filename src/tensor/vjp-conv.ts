/** Gradients of the 2-D convolution, written as the operators that run fastest. Rules for other ops: vjp.ts. */

import type { Attrs, Value } from "./graph.ts";
import { addNode } from "./graph.ts";
import * as o from "./ops.ts";
import { ShapeError, staticShape } from "./shape.ts";

type Quad = [number, number, number, number];

interface Geometry {
  readonly stride: number;
  /** Top, left, bottom, right. */
  readonly pads: Quad;
  /** Distance of neighbouring taps, down and across. */
  readonly dilations: readonly [number, number];
  readonly group: number;
}
const geometry = (attrs: Attrs): Geometry => ({
  stride: (attrs.strides as readonly number[])[0]!,
  pads: attrs.pads as unknown as Quad,
  dilations: (attrs.dilations ?? [1, 1]) as unknown as [number, number],
  group: (attrs.group as number | undefined) ?? 1,
});

const sizes = (v: Value): Quad => staticShape(v.shape, "Conv") as Quad;

/** A convolution with every dial. */
const convolve = (x: Value, w: Value, { stride, pads, dilations, group }: Geometry): Value =>
  addNode(x.graph, "Conv", [x, w], {
    kernel_shape: sizes(w).slice(2),
    strides: [stride, stride],
    pads: [...pads],
    dilations: [...dilations],
    group,
  })[0]!;

/** dx: a convolution with the flipped kernel where the stride is 1, a transposed convolution elsewhere. */
export function convInputGradient(x: Value, w: Value, g: Value, attrs: Attrs): Value {
  const { stride, pads, dilations, group } = geometry(attrs);
  const [top, left, bottom, right] = pads;
  const [O, C, kh, kw] = sizes(w);
  const [high, wide] = [dilations[0] * (kh - 1), dilations[1] * (kw - 1)];
  if (stride === 1 && Math.max(top, bottom) <= high && Math.max(left, right) <= wide) {
    const grouped = o.reshape(w, [group, O / group, C, kh * kw]);
    // Reversing the flattened taps turns the kernel by half a turn.
    const turned = o.slice(o.transpose(grouped, [0, 2, 1, 3]), {
      axis: 3,
      start: -1,
      end: -Number.MAX_SAFE_INTEGER,
      step: -1,
    });
    const kernel = o.reshape(turned, [group * C, O / group, kh, kw]);
    const around: Quad = [high - top, wide - left, high - bottom, wide - right];
    return convolve(g, kernel, { stride: 1, pads: around, dilations, group });
  }
  if (group !== 1 || dilations.some((d) => d !== 1))
    throw new ShapeError(
      `grad: a convolution with stride ${stride}, ${group} groups and dilations ${dilations} has no rule; use stride 1 with padding below the kernel's reach`,
      { attrs },
    );
  const [, , H, W] = sizes(x);
  const [, , h, v] = sizes(g);
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

/** dw. Which of three ways is fastest, or possible, depends on the convolution. */
export function convWeightGradient(x: Value, w: Value, g: Value, attrs: Attrs): Value {
  const at = geometry(attrs);
  const [, , kh, kw] = sizes(w);
  if (at.group !== 1 || at.dilations.some((d) => d !== 1)) return swappedGradient(x, w, g, at);
  if (kh * kw === 1 && at.stride === 1 && !at.pads.some(Boolean)) return pointwiseGradient(x, w, g);
  return slidingGradient(x, w, g, at);
}

/**
 * dw of any convolution: batch and channels change places, and so do stride and dilation. Plain but slow; it serves
 * gradients of gradients.
 */
function swappedGradient(x: Value, w: Value, g: Value, at: Geometry): Value {
  const [O, C, kh, kw] = sizes(w);
  const { stride, pads, dilations, group } = at;
  const [down, across] = dilations;
  const parts = Array.from({ length: group }, (_, i) => {
    const image = o.slice(x, { axis: 1, start: i * C, end: (i + 1) * C });
    const kernel = o.slice(g, { axis: 1, start: (i * O) / group, end: ((i + 1) * O) / group });
    // Unequal dilations have no single stride to become: take every tap, then keep those that were there.
    const every = convolve(o.transpose(image, [1, 0, 2, 3]), o.transpose(kernel, [1, 0, 2, 3]), {
      stride: 1,
      pads,
      dilations: [stride, stride],
      group: 1,
    }); // C O/group rows columns
    const rows = o.slice(every, { axis: 2, end: down * (kh - 1) + 1, step: down });
    const taps = o.slice(rows, { axis: 3, end: across * (kw - 1) + 1, step: across });
    return o.transpose(taps, [1, 0, 2, 3]); // O/group C kh kw
  });
  return o.concat(parts, 0);
}

/** Parts the batch is cut into, so that the weight gradient has enough work for both cores. */
const PARTS = 4;

/**
 * dw as ONE convolution: the image, its channels innermost, is read as a picture of width W·C, the gradient is the
 * kernel that slides over it, and the batch is what channels are elsewhere. Twice as fast as stacking shifted views.
 * dw[o, i, j, c] = Σ_b,y,x  g[b, o, y, x] · image[b, s·y + i - top, (s·x + j - left)·C + c]
 */
function slidingGradient(x: Value, w: Value, g: Value, { stride, pads }: Geometry): Value {
  const [top, left] = pads;
  const [O, C, kh, kw] = sizes(w);
  const [B, , h, v] = sizes(g);
  // Rows and columns beyond the image that the last window reaches; where it ends before, they are cut off.
  const reach = (n: number, k: number, size: number, pad: number) =>
    (n - 1) * stride + k - size - pad;
  const [, , H, W] = sizes(x);
  const below = reach(h, kh, H, top);
  const right = reach(v, kw, W, left);
  const rows = Math.min(H, H + below);
  const columns = Math.min(W, W + right);
  let image = o.transpose(x, [0, 2, 3, 1]); // B H W C
  if (rows < H) image = o.slice(image, { axis: 1, end: rows });
  if (columns < W) image = o.slice(image, { axis: 2, end: columns });
  const parts = B > PARTS && B % PARTS === 0 ? PARTS : 1;
  const kernel = o.transpose(o.reshape(g, [parts, B / parts, O, h, v]), [0, 2, 1, 3, 4]);
  const picture = o.reshape(image, [1, B, rows, columns * C]);
  const sums = convolve(picture, o.reshape(kernel, [parts * O, B / parts, h, v]), {
    stride: 1,
    pads: [top, left * C, Math.max(0, below), Math.max(0, right) * C],
    dilations: [stride, stride * C],
    group: parts,
  }); // 1 parts·O kh kw·C
  let total = o.reshape(sums, [parts, O, kh * kw, C]);
  if (parts > 1) total = o.sum(total, { axes: [0] });
  return o.reshape(o.transpose(o.reshape(total, [O, kh * kw, C]), [0, 2, 1]), [O, C, kh, kw]);
}

/** dw of a 1x1 convolution: a matrix product per image, summed. */
function pointwiseGradient(x: Value, w: Value, g: Value): Value {
  const [B, C, H, W] = sizes(x);
  const O = w.shape[0] as number;
  const product = o.matmul(o.reshape(g, [B, O, H * W]), o.reshape(x, [B, C, H * W]), {
    transB: true,
  }); // B O C
  return o.reshape(o.sum(product, { axes: [0] }), [O, C, 1, 1]);
}
