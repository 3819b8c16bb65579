/** Public names of the sentinel's detectors: pure, for Node and browsers. Hashing of files is sources.node.ts. */

export {
  ALARMS,
  type Alarm,
  type AlarmKind,
  alarm,
  describeAlarm,
  type Evidence,
} from "./alarm.ts";
export { type DataRecord, differingFeed, recordData } from "./batch.ts";
export { type Chain, type ChainOptions, createChain } from "./chain.ts";
export { type ClockOptions, type ClockReport, createClocks } from "./clocks.ts";
export {
  across,
  along,
  appliedNorm,
  clippedNorm,
  gradientAcross,
  moveAcross,
  moveAlong,
  type Place,
  type Slope,
} from "./direction.ts";
export { falls, hmacSha256, type SecretStream, secretStream } from "./secret.ts";
export {
  type AdamWNumbers,
  adamwFactors,
  checkCoordinate,
  checkUpdate,
  type ShadowOptions,
  type ShadowReport,
} from "./shadow.ts";
export { type OutlierOptions, outlierDetector } from "./statistics.ts";
export {
  robustScale,
  type Shift,
  type ShiftContext,
  type ShiftOptions,
  type StallOptions,
  shiftDetector,
  stallDetector,
} from "./timing.ts";
