/** Our own classifiers as networks of evaluation: `lab:emoji`, or a file of `underpaint train classifier`. */

import { bindConstants } from "../nn/bind.ts";
import type { Backend } from "../tensor/backend.ts";
import type { Value } from "../tensor/graph.ts";
import { reshape, slice } from "../tensor/ops.ts";
import { classify } from "./classifier.ts";
import type { LoadedClassifier } from "./classifier-file.ts";
import { softmaxRows } from "./inception-score.ts";
import { asRows, compileLook, type Network, planes, sessionsBySize, TO_PM1 } from "./network.ts";
import type { ResizeKernel } from "./resize.ts";

/** About as many spatial features as the ADM evaluator has (2023): a covariance of more would be large. */
const SPATIAL = 2048;

/** The first channels of a map, as many as fit, as one row per picture. B C h w -> B c·h·w */
export function spatialPart(map: Value): Value {
  const [B, C, h, w] = map.shape as [number, number, number, number];
  const channels = Math.max(1, Math.min(C, Math.floor(SPATIAL / (h * w))));
  return reshape(slice(map, { axis: 1, start: 0, end: channels }), [B, channels * h * w]);
}

/** Looks through a classifier: features are its last map averaged, spatial ones the map before the last. */
export function labNetwork(
  { config, weights, name, hash }: LoadedClassifier,
  { backend, resize = "bicubic" }: { backend: Backend; resize?: ResizeKernel | undefined },
): Network {
  const { size } = config;
  const sessions = sessionsBySize((from) =>
    compileLook(backend, from, {
      ...{ size, resize, range: TO_PM1 },
      build(images) {
        const { maps, features, logits } = classify(
          images,
          bindConstants(images.graph, weights),
          config,
        );
        return { features, logits, spatial: spatialPart(maps.at(-2) ?? maps.at(-1)!) };
      },
    }),
  );
  return {
    name,
    hash,
    size,
    resize,
    async look(pictures) {
      const r = await (await sessions.get(pictures)).run({ pixels: planes(pictures) });
      const classes = config.classes.length;
      return {
        features: asRows(r.features!),
        spatial: asRows(r.spatial!),
        probabilities: {
          count: pictures.count,
          width: classes,
          data: softmaxRows(r.logits!.data as Float32Array, classes),
        },
      };
    },
    release: sessions.release,
  };
}
