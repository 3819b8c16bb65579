/** The public names of the lab: metrics and curves, quality and novelty of a model, the embedded model and its card. */

export { type Beside, type BesideOptions, standBeside, type Verdict } from "./beside.ts";
export { type CardFacts, type LossFacts, modelCard, type NearestFacts } from "./card.ts";
export { type CommandPlace, recipeRows, trainCommand } from "./command.ts";
export { type CurveFigure, type CurveKind, trainingCurves } from "./curves.ts";
export {
  type EmbedOptions,
  type EmbedProgress,
  embedModel,
} from "./embed.node.ts";
export { figurePng } from "./figure.node.ts";
export {
  type Measured,
  type MeasureOptions,
  measureModel,
  measureNovelty,
  type NamedData,
  type Novelty,
} from "./measure.ts";
export { type Effort, effort, type MetricLine, parseMetrics, quantile } from "./metrics.ts";
export {
  type Closeness,
  closeness,
  type Nearest,
  nearestOf,
  type Pictures,
  type Points,
  shrunkPixels,
} from "./nearest.ts";
export { type Examples, type Prediction, predict } from "./predict.ts";
export { classGroups, nearestSheet, reconstructionSheet } from "./showcase.ts";
export {
  type CodeUse,
  codeUse,
  featuresOf,
  psnrOf,
  type Through,
  throughTokenizer,
} from "./through.ts";
export { type Recipe, readRun, type TrainedRun } from "./trained.node.ts";
