/** How different two pictures look to a network: distances of its feature maps. Trains nothing, and reads no files. */

import type { OnnxModel } from "../formats/onnx.ts";
import { featureLayers, onnxValues } from "../tensor/from-onnx.ts";
import { type Value, withScope } from "../tensor/graph.ts";
import { add, div, mean, mul, sqrt, square, stopGradient, sub, sum } from "../tensor/ops.ts";
import { staticShape } from "../tensor/shape.ts";

/** A network that is looked through; its weights are frozen. */
export interface FeatureNet {
  /** As it was named. */
  readonly name: string;
  /** What its weights are: a hash of the file. */
  readonly hash: string;
  /** Feature maps of several layers, B c h w each, from pictures B 3 H W in [-1, 1]. Appends to their graph. */
  maps(images: Value): readonly Value[];
}

/**
 * A network of an ONNX file whose input is pictures in [-1, 1].
 * @param options.layers names of values to compare; the last at each resolution by default
 */
export const onnxFeatures = (
  model: OnnxModel,
  { name, hash, layers }: { name: string; hash: string; layers?: readonly string[] },
): FeatureNet => ({
  name,
  hash,
  maps(images) {
    const [, , H, W] = staticShape(images.shape, "perceptual") as [number, number, number, number];
    const wanted = layers ?? featureLayers(model, [H, W], { what: name });
    return onnxValues(model, images, { wanted, what: name });
  },
});

/** Keeps the length of an empty place's features from zero, as LPIPS does. */
const EPS = 1e-10;

/** Each place's features at length 1. B c h w. */
const unit = (map: Value): Value =>
  div(map, sqrt(add(sum(square(map), { axes: [1], keepDims: true }), EPS)));

/**
 * Mean over layers of the mean over places of the squared distance of unit-length features: LPIPS (Zhang et al. 2018,
 * eq. 1) with all channels weighted 1. Differs: averaged over layers, so that it lies from 0 to 4 for any network.
 * The gradient flows to `rebuilt` alone. Both B 3 H W in [-1, 1] -> scalar
 */
export function perceptualDistance(images: Value, rebuilt: Value, net: FeatureNet): Value {
  return withScope(images.graph, "perceptual", () => {
    const wanted = net.maps(stopGradient(images));
    const got = net.maps(rebuilt);
    const layers = got.map((map, i) =>
      mean(sum(square(sub(unit(map), stopGradient(unit(wanted[i]!)))), { axes: [1] })),
    );
    return mul(layers.reduce(add), 1 / layers.length);
  });
}
