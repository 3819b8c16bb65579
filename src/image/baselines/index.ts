/** The public names of the baselines: raster AR, MaskGIT and DiT on VAR's blocks. */

export {
  BASELINE_KINDS,
  BASELINES,
  type BaselineKind,
  baselineConfig,
  baselineSamplingFlops,
  baselineSpecs,
  baselineTrainingFlops,
  equalDepth,
  type LatentScale,
} from "./config.ts";
export {
  type BaselineDrawing,
  type BaselineOptions,
  baselineDrawing,
  type Drawn,
  drawBaseline,
} from "./draw.ts";
export { type Lesson, type LessonOptions, lesson, lessonChance } from "./lessons.ts";
export { Baseline, type BaselineParts } from "./model.ts";
export { causalMask } from "./nets.ts";
