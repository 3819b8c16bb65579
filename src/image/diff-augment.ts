/**
 * Differentiable augmentation (Zhao et al. 2020): colour, translation and cutout of real and rebuilt pictures alike, so
 * that a discriminator cannot learn a small set by heart. The chance is drawn outside; the graph is matrix products.
 */

import type { Tensor } from "../formats/dtype.ts";
import { type Graph, input, type Value, withScope } from "../tensor/graph.ts";
import { add, matmul, mean, mul, sub } from "../tensor/ops.ts";
import type { Rng } from "../tensor/rng.ts";
import { staticShape } from "../tensor/shape.ts";

/** Largest displacement and side of the hole, as shares of the picture (the settings of StyleGAN-T). */
const [SHIFT, HOLE] = [0.125, 0.2];

/** Shapes of what is drawn for B pictures of H x W, by name. */
const shapes = ([B, H, W]: readonly [number, number, number]) => ({
  brightness: [B, 1, 1, 1],
  saturation: [B, 1, 1, 1],
  contrast: [B, 1, 1, 1],
  rows: [B, 1, H, H],
  columns: [B, 1, W, W],
  seen: [B, 1, H, W],
});
type Part = keyof ReturnType<typeof shapes>;
const PARTS = ["brightness", "saturation", "contrast", "rows", "columns", "seen"] as const;

/** Changes x by what is fed under `name.*`; see `drawDiffAugment`. x B 3 H W -> B 3 H W */
export function diffAugment(x: Value, name: string): Value {
  const [B, , H, W] = staticShape(x.shape, "diffAugment") as [number, number, number, number];
  const all = shapes([B, H, W]);
  return withScope(x.graph, name, () => {
    const v = Object.fromEntries(
      PARTS.map((part) => [part, fed(x.graph, `${name}.${part}`, all[part])]),
    ) as Record<Part, Value>;
    const about = (y: Value, centre: Value, factor: Value) =>
      add(mul(sub(y, centre), factor), centre);
    let y = add(x, v.brightness);
    y = about(y, mean(y, { axes: [1], keepDims: true }), v.saturation);
    y = about(y, mean(y, { axes: [1, 2, 3], keepDims: true }), v.contrast);
    return mul(matmul(matmul(v.rows, y), v.columns), v.seen);
  });
}

const fed = (g: Graph, name: string, shape: readonly number[]): Value => input(g, name, shape);

/**
 * The numbers for one batch: brightness within ±strength/2, saturation 1 ± strength, contrast 1 ± strength/2, whole
 * displacements by up to an eighth with zeros coming in, a hole of a fifth of each side. Strength 0 changes nothing.
 */
export function drawDiffAugment(
  name: string,
  [B, H, W]: readonly [number, number, number],
  { strength, rng }: { strength: number; rng: Rng },
): Record<string, Tensor> {
  const all = shapes([B, H, W]);
  const blank = (part: Part) => {
    const data = new Float32Array(all[part].reduce((a, b) => a * b));
    return { dtype: "float32", shape: all[part], data } as const;
  };
  const out = Object.fromEntries(PARTS.map((part) => [part, blank(part)])) as Record<
    Part,
    ReturnType<typeof blank>
  >;
  const either = (r: Rng, s: number) => (2 * r.uniform() - 1) * s;
  for (let b = 0; b < B; b++) {
    const r = rng.child(b);
    out.brightness.data[b] = either(r, strength / 2);
    out.saturation.data[b] = 1 + either(r, strength);
    out.contrast.data[b] = 1 + either(r, strength / 2);
    shift(out.rows.data, { b, side: H, by: displaced(r, H, strength), turned: false });
    shift(out.columns.data, { b, side: W, by: displaced(r, W, strength), turned: true });
    const [h, w] = [Math.round(HOLE * strength * H), Math.round(HOLE * strength * W)];
    const [top, left] = [r.int(H - h + 1), r.int(W - w + 1)];
    const seen = out.seen.data.subarray(b * H * W, (b + 1) * H * W).fill(1);
    for (let y = top; y < top + h; y++) seen.fill(0, y * W + left, y * W + left + w);
  }
  return Object.fromEntries(PARTS.map((part) => [`${name}.${part}`, out[part]]));
}

function displaced(r: Rng, side: number, strength: number): number {
  const most = Math.round(SHIFT * strength * side);
  return r.int(2 * most + 1) - most;
}

/** The matrix whose product moves lines by `by`; turned for use from the right. */
function shift(
  data: Float32Array,
  { b, side, by, turned }: { b: number; side: number; by: number; turned: boolean },
): void {
  for (let to = 0; to < side; to++) {
    const from = to - by;
    if (from < 0 || from >= side) continue;
    data[b * side * side + (turned ? from * side + to : to * side + from)] = 1;
  }
}
