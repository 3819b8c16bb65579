/** The public names most programs need: load a model, sample, write a picture. Everything else is in the subpaths. */

export { InputError } from "./formats/errors.ts";
export {
  type LazyTensorFile,
  openTensorFile,
  readTensorFile,
  type TensorFile,
} from "./formats/node.ts";
export { encodePng, type PngImage, type PngText } from "./formats/png.ts";
export { type EmbeddedModel, embeddedModels } from "./image/embedded.node.ts";
export { findLabel, type Label } from "./image/labels.ts";
export { type LoadOptions, loadVar, type ModelSource, Var, type VarInfo } from "./image/model.ts";
export { loadVarFrom, type VarPaths } from "./image/node.ts";
export type { SampleOptions } from "./image/orders.ts";
export { type Generated, generate, type ScaleStep, sample } from "./image/sampler.ts";
export { type Picture, type SheetOptions, sheet } from "./image/sheet.ts";
export { type Backend, type BackendName, openBackend } from "./tensor/backend.ts";
