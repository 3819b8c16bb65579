/** Public names of the guard. Imports formats/ only; runs in Node and in the browser (files on disk: *.node.ts). */

export {
  type FileReport,
  type Finding,
  LIMITS,
  type ScanLimits,
  type Severity,
  scanSource,
  toHtml,
  toSarif,
  VERDICTS,
  type Verdict,
  worst,
} from "./scan/index.ts";
export { createSketcher, type Sketcher, type State, stateRoot } from "./state/index.ts";
