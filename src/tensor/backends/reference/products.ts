/** Reference kernels that multiply and sum: matrix products, convolutions, pooling, attention. */

import { sizeOf } from "../../../formats/dtype.ts";
import { type Arr, arr, broadcastStrides, commonShape, walk } from "./array.ts";
import { type Kernel, type KernelContext, list, num } from "./kernel.ts";
import { softmaxOf } from "./reductions.ts";

/** alpha · op(A) · op(B) over broadcast batches. */
const matmul: Kernel = (c) => {
  const [a, b] = c.x as [Arr, Arr];
  const [transA, transB] = [num(c, "transA", 0) === 1, num(c, "transB", 0) === 1];
  const [ra, ca] = a.shape.slice(-2) as [number, number];
  const [rb, cb] = b.shape.slice(-2) as [number, number];
  const [M, K, N] = [transA ? ca : ra, transA ? ra : ca, transB ? rb : cb];
  if (K !== (transB ? cb : rb)) throw new RangeError(`inner sizes of [${a.shape}], [${b.shape}]`);
  const alpha = num(c, "alpha", 1);
  const batch = commonShape([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const out = arr(a.dtype, [...batch, M, N]);
  const strides = [a, b].map((v) => broadcastStrides(v.shape.slice(0, -2), batch));
  walk(batch, strides, (i, [p, q]) => {
    const [atA, atB, atOut] = [p! * ra * ca, q! * rb * cb, i * M * N];
    for (let m = 0; m < M; m++)
      for (let n = 0; n < N; n++) {
        let total = 0;
        for (let k = 0; k < K; k++)
          total +=
            a.data[atA + (transA ? k * ca + m : m * ca + k)]! *
            b.data[atB + (transB ? n * cb + k : k * cb + n)]!;
        out.data[atOut + m * N + n] = alpha * total;
      }
  });
  return [out];
};

const gemm: Kernel = (c) => {
  const [product] = matmul({ ...c, x: c.x.slice(0, 2) }) as [Arr];
  const bias = c.x[2];
  if (!bias) return [product];
  const beta = num(c, "beta", 1);
  walk(product.shape, [broadcastStrides(bias.shape, product.shape)], (i, [p]) => {
    product.data[i]! += beta * bias.data[p!]!;
  });
  return [product];
};

interface Geometry {
  stride: readonly number[];
  pads: readonly number[];
  dilations: readonly number[];
}
const geometry = (c: KernelContext): Geometry => ({
  stride: list(c, "strides", [1, 1]),
  pads: list(c, "pads", [0, 0, 0, 0]),
  dilations: list(c, "dilations", [1, 1]),
});

/** Calls `visit` with (small cell, large cell) for every kernel tap that falls inside the large plane. */
function taps(
  [h, w]: readonly number[],
  [H, W]: readonly number[],
  [kh, kw]: readonly number[],
  { stride, pads, dilations: [dy, dx] }: Geometry,
  visit: (small: number, large: number, tap: number) => void,
): void {
  for (let y = 0; y < h!; y++)
    for (let x = 0; x < w!; x++)
      for (let i = 0; i < kh!; i++)
        for (let j = 0; j < kw!; j++) {
          const [Y, X] = [y * stride[0]! + i * dy! - pads[0]!, x * stride[1]! + j * dx! - pads[1]!];
          if (Y >= 0 && Y < H! && X >= 0 && X < W!) visit(y * w! + x, Y * W! + X, i * kw! + j);
        }
}

const conv: Kernel = (c) => {
  const [x, w, bias] = c.x as [Arr, Arr, Arr | undefined];
  const [B, C, H, W] = x.shape as [number, number, number, number];
  const [O, perGroup, kh, kw] = w.shape as [number, number, number, number];
  const g = geometry(c);
  const group = num(c, "group", 1);
  const size = (n: number, k: number, i: number) => {
    const reach = g.dilations[i]! * (k - 1) + 1;
    return Math.floor((n + g.pads[i]! + g.pads[i + 2]! - reach) / g.stride[i]!) + 1;
  };
  const [h, v] = [size(H, kh, 0), size(W, kw, 1)];
  const out = arr(x.dtype, [B, O, h, v]);
  for (let b = 0; b < B; b++)
    for (let o = 0; o < O; o++) {
      const at = (b * O + o) * h * v;
      if (bias) out.data.fill(bias.data[o]!, at, at + h * v);
      const from = Math.floor((o * group) / O) * perGroup; // first channel of the group
      for (let ch = 0; ch < perGroup; ch++)
        taps([h, v], [H, W], [kh, kw], g, (small, large, tap) => {
          out.data[at + small]! +=
            x.data[(b * C + from + ch) * H * W + large]! *
            w.data[(o * perGroup + ch) * kh * kw + tap]!;
        });
    }
  return [out];
};

/** The adjoint of conv: every small cell spreads over its taps. x B O h w, weights O C kh kw. */
const convTranspose: Kernel = (c) => {
  const [x, w] = c.x as [Arr, Arr];
  const [B, O, h, v] = x.shape as [number, number, number, number];
  const [, perGroup, kh, kw] = w.shape as [number, number, number, number];
  const group = num(c, "group", 1);
  const C = perGroup * group;
  const g = geometry(c);
  const extra = list(c, "output_padding", [0, 0]);
  const size = (n: number, k: number, i: number) =>
    g.stride[i]! * (n - 1) +
    g.dilations[i]! * (k - 1) +
    1 -
    g.pads[i]! -
    g.pads[i + 2]! +
    extra[i]!;
  const [H, W] = [size(h, kh, 0), size(v, kw, 1)];
  const out = arr(x.dtype, [B, C, H, W]);
  const bias = c.x[2];
  if (bias)
    for (let p = 0; p < B * C; p++) out.data.fill(bias.data[p % C]!, p * H * W, (p + 1) * H * W);
  for (let b = 0; b < B; b++)
    for (let o = 0; o < O; o++) {
      const from = Math.floor((o * group) / O) * perGroup; // first channel of the group
      for (let ch = 0; ch < perGroup; ch++)
        taps([h, v], [H, W], [kh, kw], g, (small, large, tap) => {
          out.data[(b * C + from + ch) * H * W + large]! +=
            x.data[(b * O + o) * h * v + small]! * w.data[(o * perGroup + ch) * kh * kw + tap]!;
        });
    }
  return [out];
};

const averagePool: Kernel = (c) => {
  const x = c.x[0]!;
  const [B, C, H, W] = x.shape as [number, number, number, number];
  const [kh, kw] = list(c, "kernel_shape", []) as [number, number];
  const { stride } = geometry(c);
  const h = Math.floor((H - kh) / stride[0]!) + 1;
  const v = Math.floor((W - kw) / stride[1]!) + 1;
  const out = arr(x.dtype, [B, C, h, v]);
  for (let p = 0; p < B * C; p++)
    taps(
      [h, v],
      [H, W],
      [kh, kw],
      { stride, pads: [0, 0, 0, 0], dilations: [1, 1] },
      (small, large) => {
        out.data[p * h * v + small]! += x.data[p * H * W + large]! / (kh * kw);
      },
    );
  return [out];
};

/** softmax(scale · q·kᵀ + mask) · v; q B h L d, k B h M d, v B h M e, mask broadcasts to B h L M. */
const attention: Kernel = (c) => {
  const [q, k, v, mask] = c.x as [Arr, Arr, Arr, Arr | undefined];
  const [B, h, L, d] = q.shape as [number, number, number, number];
  const [M, e] = v.shape.slice(2) as [number, number];
  const scale = num(c, "scale", 1 / Math.sqrt(d));
  const [scores] = matmul({ x: [q, k], attrs: { transB: 1, alpha: scale }, outputs: 1 }) as [Arr];
  if (mask)
    walk(scores.shape, [broadcastStrides(mask.shape, scores.shape)], (i, [p]) => {
      const m = mask.data[p!]!;
      scores.data[i]! += mask.dtype !== "bool" ? m : m ? 0 : Number.NEGATIVE_INFINITY;
    });
  for (let r = 0; r < sizeOf([B, h, L]); r++)
    scores.data.set(softmaxOf(Array.from(scores.data.subarray(r * M, (r + 1) * M))), r * M);
  const [y] = matmul({ x: [scores, v], attrs: {}, outputs: 1 }) as [Arr];
  return [arr(q.dtype, [B, h, L, e], y.data)];
};

export const products: Readonly<Record<string, Kernel>> = {
  MatMul: matmul,
  FusedMatMul: matmul,
  Gemm: gemm,
  Conv: conv,
  ConvTranspose: convTranspose,
  AveragePool: averagePool,
  Attention: attention,
};
