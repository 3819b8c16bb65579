/** The models and rows of the two tables: VAR beside its baselines, and the paper's ablation. Trains and measures nothing. */

import type { VarConfig } from "../../image/config.ts";
import type { HashedTokenizer } from "../../train/token-file.node.ts";
import type { StudyRow } from "./rows.node.ts";
import {
  depthOf,
  type ModelKind,
  runModel,
  type StudyDrawing,
  type StudyRun,
  stepsFor,
  updateFlops,
} from "./runs.node.ts";

export interface PlanOptions {
  /** Multi-scale: VAR's. */
  readonly tokenizer: HashedTokenizer;
  /** For raster AR and MaskGIT; of one scale in the papers. Default VAR's own: raster order over all its maps. */
  readonly rasterTokenizer?: HashedTokenizer;
  readonly classes: number;
  /** Of VAR; the others follow. */
  readonly depth: number;
  readonly width: number;
  readonly heads?: number;
  /** Updates of VAR; the others get as many as cost the same FLOPs. */
  readonly steps: number;
  readonly batch: number;
  /** How all models draw where a row says nothing else. */
  readonly drawing: StudyDrawing & { readonly topK: number; readonly topP: number };
  /** Passes of the models that choose them. */
  readonly passes: { readonly dit: number; readonly maskgit: number };
  /** Strengths of guidance that are tried for every model. */
  readonly guidances: readonly number[];
}

/** A table's plan: what is trained, in this order, and the rows measured on it. */
export interface Plan {
  readonly runs: readonly StudyRun[];
  readonly rows: readonly StudyRow[];
}

const TITLES: Readonly<Record<ModelKind, string>> = {
  var: "VAR",
  ar: "raster AR (VQGAN)",
  maskgit: "masked tokens (MaskGIT)",
  dit: "diffusion (DiT)",
};

/** A model with the training FLOPs of `budget`. */
function planned(
  options: PlanOptions,
  at: {
    name: string;
    kind: ModelKind;
    depth?: number;
    dials?: Partial<VarConfig>;
    budget?: number;
  },
): StudyRun {
  const { tokenizer, rasterTokenizer = tokenizer, classes, width, heads, batch, steps } = options;
  const { name, kind, depth = depthOf(kind, options.depth), dials = {}, budget } = at;
  const own = kind === "ar" || kind === "maskgit" ? rasterTokenizer : tokenizer;
  const model = runModel(kind, own, { classes, width, heads, ...dials, depth });
  const run = { name, kind, model, tokenizer: own };
  return { ...run, steps: budget === undefined ? steps : stepsFor(run, { budget, batch }) };
}

const budgetOf = (run: StudyRun, batch: number): number => updateFlops(run) * batch * run.steps;

/** VAR and the three baselines with equal parameters, data and training FLOPs; a row for every strength of guidance. */
export function comparePlan(options: PlanOptions): Plan {
  const base = planned(options, { name: "var", kind: "var" });
  const budget = budgetOf(base, options.batch);
  const others = (["ar", "maskgit", "dit"] as const).map((kind) =>
    planned(options, { name: kind, kind, budget }),
  );
  const runs = [base, ...others];
  const rows = runs.flatMap((run) =>
    options.guidances.map((guidance) => ({
      name: `${run.name}-g${guidance}`,
      title: TITLES[run.kind],
      run,
      drawing: {
        ...options.drawing,
        guidance,
        ...(run.kind === "dit" || run.kind === "maskgit"
          ? { steps: options.passes[run.kind] }
          : {}),
      },
    })),
  );
  return { runs, rows };
}

/**
 * The paper's table 3, step by step: AR, AR to VAR, + AdaLN, + top-k, + CFG, + attention norm, + scale (1.5 times as deep and
 * as wide). All rows but the last are trained with the FLOPs of the row with AdaLN, the last with as many updates.
 */
export function ablationPlan(options: PlanOptions): Plan {
  const { drawing, guidances, batch, depth, width, heads } = options;
  const bare = { adaLN: false, attnL2Norm: false };
  const adaLN = planned(options, { name: "var-adaln", kind: "var", dials: { attnL2Norm: false } });
  const budget = budgetOf(adaLN, batch);
  const ar = planned(options, { name: "ar", kind: "ar", depth, dials: bare, budget });
  const plain = planned(options, { name: "var-plain", kind: "var", dials: bare, budget });
  const norm = planned(options, { name: "var-norm", kind: "var", budget });
  const wide = Math.round((1.5 * width) / 32) * 32;
  const larger = { width: wide, heads: heads && Math.max(1, Math.round((heads * wide) / width)) };
  const deep = Math.round(1.5 * depth);
  const scaled = planned(options, { name: "var-scale", kind: "var", depth: deep, dials: larger });
  const none = { guidance: 0, topK: 0, topP: 0 };
  const filtered = { ...none, topK: drawing.topK };
  const guided = { ...filtered, guidance: guidances.find((g) => g > 0) ?? 1.5 };
  const row = (name: string, title: string, run: StudyRun, drawn: StudyDrawing): StudyRow => ({
    ...{ name, title, run },
    drawing: { ...drawing, ...drawn },
  });
  return {
    runs: [ar, plain, adaLN, norm, scaled],
    rows: [
      row("1-ar", "AR", ar, none),
      row("2-var", "AR to VAR", plain, none),
      row("3-adaln", "+ AdaLN", adaLN, none),
      row("4-top-k", "+ top-k", adaLN, filtered),
      row("5-cfg", "+ CFG", adaLN, guided),
      row("6-norm", "+ attention norm", norm, guided),
      row("7-scale", "+ scale", scaled, guided),
    ],
  };
}
