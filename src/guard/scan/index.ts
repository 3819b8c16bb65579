/** Public names of the scanner. Files on disk: node.ts. */

export { toHtml } from "./html.ts";
export { type Loaded, type LoadedArray, loadModel } from "./load.ts";
export { LIMITS, type ScanLimits } from "./part.ts";
export {
  type FileReport,
  type Finding,
  type Severity,
  VERDICTS,
  type Verdict,
  worst,
} from "./report.ts";
export { toSarif } from "./sarif.ts";
export { scanSource } from "./scan.ts";
