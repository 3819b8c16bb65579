/** The public names of studies: runs, plans, rows, laws, reports. */

export { openJudge } from "./judge.node.ts";
export { ablationPlan, comparePlan, type Plan, type PlanOptions } from "./plans.ts";
export { type PlotSeries, studyPlot } from "./plot.ts";
export { measureTokenizer, type Rebuilt } from "./rebuilt.node.ts";
export {
  ablationReport,
  bestRows,
  compareReport,
  type ReportFacts,
  scalingReport,
} from "./report.ts";
export {
  type Figures,
  type Judge,
  type MeasuredRow,
  measureRow,
  type Step,
  type StudyRow,
} from "./rows.node.ts";
export {
  parametersOf,
  runModel,
  type Study,
  type StudyEvent,
  type StudyRecipe,
  type StudyRun,
  tokensPerPicture,
  trainRun,
  updateFlops,
} from "./runs.node.ts";
export {
  evaluationOf,
  MEASURES,
  type ScalingLaws,
  scalingLaws,
  type TrainedSize,
} from "./scaling.ts";
