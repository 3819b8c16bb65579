/** The engine's public names: graphs with reverse-mode differentiation, and the runtimes that run them. */

export {
  type Backend,
  type BackendName,
  type CompileOptions,
  openBackend,
  type ProfileRow,
  RunError,
  type RunOptions,
  type Session,
  type Tensors,
} from "./backend.ts";
export { grad } from "./grad.ts";
export {
  type Attrs,
  addNode,
  constant,
  createGraph,
  type Graph,
  input,
  type Node,
  output,
  scalar,
  type Value,
  withScope,
} from "./graph.ts";
export { NonFiniteError } from "./nan-check.ts";
export * as ops from "./ops.ts";
export { type PrintOptions, printGraph } from "./print.ts";
export { fromState, Rng, type RngState, rng } from "./rng.ts";
export { type Dim, type Shape, ShapeError } from "./shape.ts";
export { toOnnx } from "./to-onnx.ts";
