/** The public names of image: the models' dials, layouts and costs, quantizer matrices, the sampler. */

export {
  checkPair,
  checkVarConfig,
  checkVqvaeConfig,
  dropPathRates,
  labVqvaeConfig,
  type VarConfig,
  type VqvaeConfig,
  varConfig,
  vqvaeConfig,
} from "./config.ts";
export { samplingFlops, trainingFlops, type VarFlops } from "./cost.ts";
export { type Drawing, USUAL_DRAWING } from "./drawing.ts";
export { BLENDS, type Blend, blendInto, seamError, softEdge } from "./edit/blend.ts";
export {
  type CanvasOptions,
  type CanvasStep,
  type ExtendOptions,
  extend,
  extendedSize,
  paintCanvas,
  type Sides,
} from "./edit/canvas.ts";
export {
  type EditOptions,
  type EnlargeOptions,
  enlarge,
  enlargeOrders,
  type Painting,
  type PaintOptions,
  paint,
  paintOrders,
  type VaryOptions,
  vary,
  varyOrders,
} from "./edit/edit.ts";
export { COURSES, type Course, type InterpolateOptions, interpolate } from "./edit/interpolate.ts";
export {
  type Box,
  boxMask,
  checkMask,
  type Mask,
  maskFromAlpha,
  maskFromGrey,
  plainMask,
} from "./edit/mask.ts";
export { type Encoded, encodePicture, scalesSeen } from "./edit/tokens.ts";
export {
  type InferOptions,
  inferVarConfig,
  inferVqvaeConfig,
  modelKind,
  type Shapes,
} from "./infer-config.ts";
export { findLabel, type Label } from "./labels.ts";
export { type DrawnModel, fittingBatch, pictureBytes } from "./memory.ts";
export {
  type LoadOptions,
  loadVar,
  type ModelFile,
  type ModelSource,
  Var,
  type VarInfo,
} from "./model.ts";
export { modelMetadata } from "./note.ts";
export {
  type Branch,
  type Given,
  type Order,
  ordersOf,
  type SampleOptions,
} from "./orders.ts";
export {
  PRECISION_CHOICES,
  PRECISIONS,
  type Precision,
  type PrecisionChoice,
} from "./precision.ts";
export {
  areaMatrix,
  bicubicMatrix,
  bilinearMatrix,
  maskAtScale,
  phiIndex,
  resizeMaps,
} from "./quantizer-math.ts";
export { checkFilter, type FilterOptions, RowFilter } from "./row-filter.ts";
export {
  type DrawOptions,
  decodeMaps,
  drawOrders,
  type Generated,
  generate,
  type ScaleStep,
  sample,
} from "./sampler.ts";
export {
  drawTokens,
  filteredProbabilities,
  filterLogits,
  guide,
  type SmoothOptions,
  scaleRatio,
  smoothTemperature,
  smoothVectors,
} from "./sampling.ts";
export {
  checkImageSize,
  imageSize,
  latentShape,
  PATCH_NUMS,
  patchNumsFor,
  patchSize,
  scaleStarts,
  tokenCount,
} from "./scales.ts";
export { type Picture, sheet, toPictures } from "./sheet.ts";
export { blockCausalMask, decays, scaleOfToken, varSpecs } from "./var-layout.ts";
export {
  dropLabels,
  dropPathMasks,
  type VarBatch,
  type VarLoss,
  type VarLossOptions,
  varBatch,
  varLoss,
} from "./var-loss.ts";
export {
  checkVqvaeWeights,
  phiNames,
  type VaeLevel,
  vaeLevels,
  vqvaeFlops,
  vqvaeSpecs,
} from "./vqvae-layout.ts";
