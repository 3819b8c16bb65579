/** The public names of evaluation: networks to look through, figures, rejection. Not listed, not promised. */

export {
  type Classifier,
  type ClassifierConfig,
  type ClassifierFacts,
  classGroup,
  classifierClass,
  classifierConfig,
  classifierMetadata,
  classifierSpecs,
  classify,
  readClassifier,
  type Seen,
} from "./classifier.ts";
export { type LoadedClassifier, labClassifiers, loadClassifier } from "./classifier-file.ts";
export {
  type CompareOptions,
  type CompareSetsOptions,
  compare,
  compareSets,
  type Figure,
  inParts,
  type LookOptions,
  lookAt,
  METRICS,
  type Metric,
  type Summary,
} from "./evaluate.ts";
export { type Fidelity, fidelity } from "./fidelity.ts";
export { frechetDistance } from "./frechet.ts";
export { type InceptionScore, InceptionScoreStream, softmaxRows } from "./inception-score.ts";
export { type Kid, type KidOptions, kernelDistance, kernelGain } from "./kid.ts";
export type { Looked, Network, PictureSet } from "./network.ts";
export { NETWORK_SYNTAX, type NetworkOptions, openNetwork } from "./networks.ts";
export { type ManifoldOptions, type PrecisionRecall, precisionRecall } from "./precision-recall.ts";
export { openProducts, type Products, type Rows } from "./products.ts";
export { candidates, classScores, keepBest } from "./reject.ts";
export { RESIZE_KERNELS, type ResizeKernel, resizeMatrix } from "./resize.ts";
export { savePictures } from "./save-npz.ts";
export {
  datasetSource,
  type ModelSourceOptions,
  modelSource,
  openSource,
  type PictureSource,
  SOURCE_SYNTAX,
  type Source,
  type SourceOptions,
  type StatisticsSource,
} from "./sources.ts";
export { type Statistics, StatisticsStream } from "./statistics.ts";
export { type TokenizerParts, tokenizerSource } from "./tokenizer-source.ts";
