/** Structural similarity of pictures as a graph. Measures; trains nothing. */

import { sharedConstant, type Value } from "../tensor/graph.ts";
import { add, concat, conv2d, div, mean, mul, reshape, slice, square, sub } from "../tensor/ops.ts";
import { staticShape } from "../tensor/shape.ts";

/** Side of the Gaussian window, and its standard deviation. */
const WINDOW = 11;
const SIGMA = 1.5;
/** Stabilisers (0.01 range)² and (0.03 range)² for pixels in [-1, 1]. */
const [C1, C2] = [0.02 ** 2, 0.06 ** 2];

/**
 * Mean SSIM of each pair over windows that lie inside and over the three colours (Wang et al. 2004, eq. 13; weights
 * of the window sum to 1, variances without Bessel's correction). Pictures smaller than 11 pixels take the largest
 * odd window that fits. a, b B 3 H W in [-1, 1] -> B
 */
export function ssim(a: Value, b: Value): Value {
  const [B, C, H, W] = staticShape(a.shape, "ssim") as [number, number, number, number];
  const side = Math.min(WINDOW, H - 1 + (H % 2), W - 1 + (W % 2));
  const moments = concat([a, b, square(a), square(b), mul(a, b)], 0); // 5B C H W
  const flat = reshape(moments, [5 * B * C, 1, H, W]);
  const blurred = conv2d(conv2d(flat, gaussian(a, [side, 1])), gaussian(a, [1, side])); // 5BC 1 h w
  const [ma, mb, aa, bb, ab] = Array.from({ length: 5 }, (_, i) =>
    slice(blurred, { axis: 0, start: i * B * C, end: (i + 1) * B * C }),
  ) as [Value, Value, Value, Value, Value];
  const [both, squares] = [mul(ma, mb), add(square(ma), square(mb))];
  const variances = sub(add(aa, bb), squares);
  const map = div(
    mul(add(mul(both, 2), C1), add(mul(sub(ab, both), 2), C2)),
    mul(add(squares, C1), add(variances, C2)),
  );
  const cells = staticShape(map.shape, "ssim")
    .slice(2)
    .reduce((x, y) => x * y);
  return mean(reshape(map, [B, C * cells]), { axes: [1] });
}

/** A window of one axis as the kernel of a convolution: 1 1 h w. */
function gaussian({ graph }: Value, [h, w]: readonly [number, number]): Value {
  return sharedConstant(graph, `gaussian ${h}x${w}`, () => {
    const n = h * w;
    const data = Float32Array.from({ length: n }, (_, i) =>
      Math.exp(-((i - (n - 1) / 2) ** 2) / (2 * SIGMA ** 2)),
    );
    const total = data.reduce((x, y) => x + y, 0);
    return { dtype: "float32", shape: [1, 1, h, w], data: data.map((x) => x / total) };
  });
}
