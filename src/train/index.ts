/** The public names of training: trainers as tasks, the loop that runs them, runs on disk, data sets as tokens. */

export { type BaselineRecipe, baselineTask } from "./baseline.ts";
export { auditCommitment, challenge, targets } from "./challenge.ts";
export { type History, readHistory, type StepRecord } from "./history.ts";
export {
  type LoopOptions,
  type Task,
  type TrainEvent,
  trainLoop,
} from "./loop.ts";
export { type Recorder, type RecorderOptions, type RunFacts, recorder } from "./recorder.ts";
export {
  type Judgement,
  type Replayed,
  type ReplayOptions,
  type ReplaySource,
  replay,
} from "./replay.ts";
export { type Checkpoint, type Metrics, type OpenedRun, openRun, type Run } from "./run.node.ts";
export { type HashedTokenizer, tokensIn } from "./token-file.node.ts";
export { type TokenizeOptions, type TokenizeProgress, type TokenSet, tokenize } from "./tokens.ts";
export { VAR_RECIPE, type VarData, type VarRecipe, type VarTaskOptions, varTask } from "./var.ts";
export { type VqvaeLife, vqvaeTask } from "./vqvae.ts";
export type { Judge } from "./vqvae-measure.ts";
export { VQVAE_RECIPE, type VqvaeRecipe } from "./vqvae-recipe.ts";
export {
  type AfterStepEvent,
  AlarmError,
  type BatchSeen,
  type BeforeStepEvent,
  type CheckpointEvent,
  type EndEvent,
  type EvaluationEvent,
  type RunState,
  type SheetEvent,
  type StartEvent,
  type Stepped,
  type Watcher,
} from "./watch.ts";
