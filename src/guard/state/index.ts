/** Public names of state fingerprints: roots that convince others, sketches for every update. */

export { type State, sketchRoot, stateRoot } from "./root.ts";
export {
  createSketcher,
  differingTensors,
  type Hash,
  SKETCH,
  type Sketcher,
  sortedNames,
} from "./sketch.ts";
