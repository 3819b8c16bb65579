/**
 * Gradients of convolutions with groups, dilations or unequal strides: what gradients of gradients meet. Written to be
 * right for all of them; the fast forms of the plain convolution are in vjp-conv.ts.
 */

import { type Attrs, addNode, type Value } from "./graph.ts";
import * as o from "./ops.ts";
import { staticShape } from "./shape.ts";

type Pair = readonly [number, number];
type Quad = readonly [number, number, number, number];
const NO_PADS: Quad = [0, 0, 0, 0];

interface Geometry {
  readonly strides: Pair;
  readonly dilations: Pair;
  readonly pads: Quad; // top left bottom right
  readonly group: number;
}
const geometry = (attrs: Attrs): Geometry => ({
  strides: (attrs.strides as unknown as Pair | undefined) ?? [1, 1],
  dilations: (attrs.dilations as unknown as Pair | undefined) ?? [1, 1],
  pads: (attrs.pads as unknown as Quad | undefined) ?? NO_PADS,
  group: (attrs.group as number | undefined) ?? 1,
});

/** One group, no dilation, equal strides: what vjp-conv.ts is written for. */
export function isPlain(attrs: Attrs): boolean {
  const { strides, dilations, group } = geometry(attrs);
  return group === 1 && dilations[0] === 1 && dilations[1] === 1 && strides[0] === strides[1];
}

const kernelOf = (w: Value): Pair => staticShape(w.shape, "Conv").slice(2) as unknown as Pair;

/** A Conv node with the geometry of `attrs`. */
export const convolve = (x: Value, w: Value, attrs: Attrs): Value =>
  addNode(x.graph, "Conv", [x, w], { ...geometry(attrs), kernel_shape: kernelOf(w) })[0]!;

/** dx: the transposed convolution of the same geometry, its far edge padded to the size of x. */
export function generalInputGradient(x: Value, w: Value, g: Value, attrs: Attrs): Value {
  const at = geometry(attrs);
  const kernel = kernelOf(w);
  const reach = (i: 0 | 1) =>
    at.strides[i] * ((g.shape[i + 2] as number) - 1) +
    at.dilations[i] * (kernel[i] - 1) +
    1 -
    at.pads[i] -
    at.pads[(i + 2) as 2 | 3];
  return addNode(g.graph, "ConvTranspose", [g, w], {
    ...at,
    kernel_shape: kernel,
    output_padding: ([0, 1] as const).map((i) => (x.shape[i + 2] as number) - reach(i)),
  })[0]!;
}

/**
 * dw: image and gradient change roles with the batch as channels, stride and dilation change places:
 * dw[o, c, i, j] = Σ_b,y,x g[b, o, y, x] · x[b, c, s·y + d·i − top, s·x + d·j − left].
 */
export function generalWeightGradient(x: Value, w: Value, g: Value, attrs: Attrs): Value {
  const { strides, dilations, pads, group } = geometry(attrs);
  const part = (v: Value): Value[] => {
    const n = (v.shape[1] as number) / group;
    return group === 1 ? [v] : o.split(v, Array<number>(group).fill(n), 1);
  };
  const [images, gradients] = [part(x), part(g)];
  const [kh, kw] = kernelOf(w);
  const each = images.map((image, k) => {
    const swapped = convolve(
      o.transpose(image, [1, 0, 2, 3]), // C B H W
      o.transpose(gradients[k]!, [1, 0, 2, 3]), // O B h w
      { strides: dilations, dilations: strides, pads },
    ); // C O and at least kh kw: rows that no window started in come after
    const rows = o.slice(swapped, { axis: 2, end: kh });
    return o.transpose(o.slice(rows, { axis: 3, end: kw }), [1, 0, 2, 3]);
  });
  return o.concat(each, 0);
}
