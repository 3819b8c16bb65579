/**
 * Multi-scale residual quantizer as graphs: feature map <-> K token maps. Knows nothing of images or of transformers.
 *
 * VAR (arXiv 2404.02905) algorithms 1 and 2. Symbols: f the feature map, fHat its reconstruction so far, r the
 * residual, z what is quantized at a scale, h what that scale adds.
 */

import type { Tensor } from "../formats/dtype.ts";
import type { Bind } from "../nn/bind.ts";
import { conv, inScope } from "../nn/layers.ts";
import { sharedConstant, type Value, withScope } from "../tensor/graph.ts";
import {
  add,
  argMax,
  argMin,
  concat,
  embedding,
  gemm,
  l2Normalize,
  matmul,
  mse,
  mul,
  reshape,
  slice,
  square,
  stopGradient,
  sub,
  sum,
  transpose,
} from "../tensor/ops.ts";
import { type Dim, staticShape } from "../tensor/shape.ts";
import type { VqvaeConfig } from "./config.ts";
import { areaMatrix, bicubicMatrix, phiIndex } from "./quantizer-math.ts";
import { latentShape, mapShape, mapTokens, type PatchNum, scaleStarts } from "./scales.ts";
import { phiNames } from "./vqvae-layout.ts";

/**
 * Resizes maps with a matrix [from, to] along x, then along y: the reference's order, so that rounding stays near its
 * own. B C h w -> B C pn.
 */
function resize(x: Value, kind: "area" | "bicubic", pn: PatchNum): Value {
  const [, , h, w] = x.shape as [Dim, number, number, number];
  const [toHeight, toWidth] = mapShape(pn);
  const along = (from: number, to: number) =>
    sharedConstant(x.graph, `${kind} ${from} ${to}`, () =>
      transposed((kind === "area" ? areaMatrix : bicubicMatrix)(from, to)),
    ); // from to
  // Maps on the left make each product one large one; matrices on the left would be many tiny ones.
  const swap = (v: Value) => transpose(v, [0, 1, 3, 2]);
  const wide = w === toWidth ? x : matmul(x, along(w, toWidth));
  return h === toHeight ? wide : swap(matmul(swap(wide), along(h, toHeight)));
}

function transposed({ shape, data }: Tensor): Tensor {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j] as number;
  return { dtype: "float32", shape: [columns, rows], data: out };
}

/** The phi convolution of scale `k`: (1 - q)·h + q·conv(h). B C h w. */
function phi(h: Value, p: Bind, { k, config }: { k: number; config: VqvaeConfig }): Value {
  const names = phiNames(config);
  if (names.length === 0) return h;
  const name = names[phiIndex(config.patchNums.length, names.length)[k]!]!;
  const { quantResi: share } = config;
  return add(
    mul(h, 1 - share),
    mul(
      inScope(h, p, name, (q) => conv(h, q, { pad: 1 })),
      share,
    ),
  );
}

/** Codes of one scale to what they add to fHat. ids B T -> B C h w. */
const contribution = (ids: Value, p: Bind, at: { k: number; config: VqvaeConfig }): Value =>
  spread(embedding(p("quantize.embedding.weight"), ids), p, at);

/** Code vectors of one scale to what they add to fHat: to a map, enlarged, through phi. rows B T C. */
export function spread(rows: Value, p: Bind, at: { k: number; config: VqvaeConfig }): Value {
  const { k, config } = at;
  const pn = config.patchNums[k]!;
  return phi(resize(toMap(rows, pn), "bicubic", latentShape(config)), p, at);
}

/** B T C -> B C pn. */
const toMap = (rows: Value, pn: PatchNum): Value =>
  reshape(transpose(rows, [0, 2, 1]), [rows.shape[0]!, rows.shape[2]!, ...mapShape(pn)]);

/** Nearest code of each row: by distance, or by cosine with `usingZnorm`. z N C -> ids N (int64). */
function nearestCodes(z: Value, p: Bind, { usingZnorm }: VqvaeConfig): Value {
  const codes = p("quantize.embedding.weight"); // V C
  if (usingZnorm) return argMax(gemm(l2Normalize(z), l2Normalize(codes), { transB: true }), 1);
  // ‖z‖² is the same for every code and left out.
  const lengths = sum(square(codes), { axes: [1] }); // V
  return argMin(gemm(z, codes, { bias: lengths, transB: true, alpha: -2 }), 1);
}

export interface Quantized {
  /** Token ids of each scale, coarse to fine: B T (int64). */
  readonly ids: Value[];
  /** fHat after each scale: B C h w. */
  readonly fHats: Value[];
  /** What was quantized at each scale, as rows: B·T C. */
  readonly z: Value[];
}

/** The codes that are taken for the nearest ones at scale k. ids B T -> B T */
export type Misread = (ids: Value, k: number) => Value;

export interface QuantizeOptions {
  /** Changes the codes that are laid down, not the `ids` that are told: finer scales then repair the damage. */
  readonly misread?: Misread;
  /** 1 where a scale of a picture is laid down, 0 where it is left out: B K. */
  readonly keep?: Value;
}

/** Feature map to tokens: at each scale quantize what the coarser ones left over. f B C h w. */
export function quantize(
  f: Value,
  p: Bind,
  config: VqvaeConfig,
  { misread, keep }: QuantizeOptions = {},
): Quantized {
  const [B] = staticShape(f.shape, "quantize") as [number];
  const { patchNums, latent } = config;
  const out: Quantized = { ids: [], fHats: [], z: [] };
  let residual = f; // no gradient passes the choice of a code; z itself has one
  let fHat: Value | undefined;
  for (const [k, pn] of patchNums.entries()) {
    const h = withScope(f.graph, `scale.${k}`, () => {
      const z = reshape(nextInput(residual, pn), [B * mapTokens(pn), latent]);
      const ids = reshape(stopGradient(nearestCodes(z, p, config)), [B, mapTokens(pn)]);
      out.z.push(z);
      out.ids.push(ids);
      const own = contribution(misread ? misread(ids, k) : ids, p, { k, config });
      if (!keep) return own;
      return mul(own, reshape(slice(keep, { axis: 1, start: k, end: k + 1 }), [B, 1, 1, 1]));
    });
    fHat = fHat ? add(fHat, h) : h;
    residual = sub(residual, stopGradient(h));
    out.fHats.push(fHat);
  }
  return out;
}

/**
 * The quantizer in training: straight-through output and loss, VAR eq. 5's ‖f − fHat‖ with its commitment part,
 * per scale on the cumulative fHat: mean over scales of β·MSE(sg fHat, f) + MSE(fHat, sg f).
 */
export function quantizeForTraining(
  f: Value,
  p: Bind,
  config: VqvaeConfig,
  options: Pick<QuantizeOptions, "keep"> = {},
): Quantized & { fHat: Value; loss: Value } {
  const quantized = quantize(f, p, config, options);
  const { fHats } = quantized;
  const losses = fHats.map((fHat) =>
    add(mul(mse(stopGradient(fHat), f), config.beta), mse(fHat, stopGradient(f))),
  );
  const loss = mul(losses.reduce(add), 1 / losses.length);
  const fHat = add(f, stopGradient(sub(fHats.at(-1)!, f)));
  return { ...quantized, fHat, loss };
}

/** fHat after each scale from all tokens of an image in a row. ids B L -> K of B C h w. */
export function fHatsFromIds(ids: Value, p: Bind, config: VqvaeConfig): Value[] {
  const starts = scaleStarts(config.patchNums);
  return config.patchNums.reduce<Value[]>((fHats, _, k) => {
    const h = withScope(ids.graph, `scale.${k}`, () => {
      const own = slice(ids, { axis: 1, start: starts[k]!, end: starts[k + 1]! }); // B T
      return contribution(own, p, { k, config });
    });
    fHats.push(k ? add(fHats[k - 1]!, h) : h);
    return fHats;
  }, []);
}

/**
 * fHat after each scale at that scale's own size, enlarged from scale to scale: pictures that grow, for show. The
 * official code calls it experimental (`all_to_max_scale=False`). ids B L -> K of B C pn.
 */
export function growingFHats(ids: Value, p: Bind, config: VqvaeConfig): Value[] {
  const starts = scaleStarts(config.patchNums);
  return config.patchNums.reduce<Value[]>((fHats, pn, k) => {
    const own = slice(ids, { axis: 1, start: starts[k]!, end: starts[k + 1]! }); // B T
    const rows = embedding(p("quantize.embedding.weight"), own); // B T C
    const h = phi(toMap(rows, pn), p, { k, config });
    fHats.push(k ? add(resize(fHats[k - 1]!, "bicubic", pn), h) : h);
    return fHats;
  }, []);
}

/** A map shrunk to the shape of a scale, as rows: what the transformer reads of fHat. B C h w -> B T C. */
export function nextInput(map: Value, pn: PatchNum): Value {
  const [B, C] = map.shape as [Dim, number];
  return transpose(reshape(resize(map, "area", pn), [B, C, mapTokens(pn)]), [0, 2, 1]);
}

/** Teacher-forced transformer input for scales 1 and up, from all tokens. ids B L -> B L-1 C. */
export function inputFromIds(ids: Value, p: Bind, config: VqvaeConfig): Value {
  if (config.patchNums.length === 1)
    return embedding(p("quantize.embedding.weight"), slice(ids, { axis: 1, end: 0 })); // B 0 C
  const fHats = fHatsFromIds(ids, p, config);
  const parts = config.patchNums.slice(1).map((pn, k) => nextInput(fHats[k]!, pn));
  return concat(parts, 1);
}
