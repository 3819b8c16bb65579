/** The public names of nn: weights by specification, schedules. Builds nothing itself. */

export {
  curves,
  type LearningRateOptions,
  learningRate,
  peakLearningRate,
  type WeightDecayOptions,
  weightDecay,
} from "./schedule.ts";
export {
  checkWeights,
  countParams,
  type Init,
  initWeights,
  nearest,
  type ParamSpec,
  type RowScale,
} from "./spec.ts";
