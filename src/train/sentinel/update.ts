/** Checks of one update against what the recipe declares: its batch, its numbers, its arithmetic. */

import {
  type AdamWNumbers,
  type AlarmKind,
  adamwFactors,
  checkUpdate,
  type DataRecord,
  differingFeed,
  type Evidence,
  type SecretStream,
  type ShadowReport,
} from "../../guard/sentinel/index.ts";
import type { Declared } from "../declared.ts";
import type { AfterStepEvent } from "../watch.ts";

/** A kind of alarm with its evidence; `since` is the update itself unless told. */
export type Found = readonly [AlarmKind, Evidence & { since?: number }];

/** Order, tokens, labels and masks as the recipe determines them; rows of the data as they were at the start. */
export function checkBatch(
  { step, batch }: AfterStepEvent,
  declared: Declared,
  data: DataRecord,
): Found[] {
  const wanted = declared.batch(step);
  const place = Array.from(wanted.indices).findIndex((i, b) => i !== batch.indices[b]);
  if (place >= 0 || wanted.indices.length !== batch.indices.length) {
    const [picture, expected] = [batch.indices[place] ?? -1, wanted.indices[place] ?? -1];
    return [["batch", { order: place, picture, expected }]];
  }
  const [row] = data.changed(wanted.rows, (i) => declared.row(i));
  if (row !== undefined) return [["batch", { changedRow: row }]];
  const name = wanted.feeds && differingFeed(wanted.feeds, batch.feeds[0]!);
  return name ? [["batch", { fed: name }]] : [];
}

const numbersOf = (step: number, { pace, adamw }: Declared): AdamWNumbers => ({
  ...pace(step),
  ...adamw,
});

/** Rates, decay and betas that the trainer says it applied. */
export function checkNumbers({ step, pace, applied }: AfterStepEvent, declared: Declared): Found[] {
  const wanted = declared.pace(step);
  const { rate, floor, shrink } = adamwFactors(numbersOf(step, declared));
  const { betas, eps } = declared.adamw;
  const pairs: [name: string, declared: number, applied: number | undefined][] = [
    ["learning rate", wanted.lr, pace.lr],
    ["weight decay", wanted.weightDecay, pace.weightDecay],
    ["beta1", betas[0], applied["adamw.beta1"]],
    ["beta2", betas[1], applied["adamw.beta2"]],
    ["eps", eps, applied["adamw.eps"]],
    ["rate", rate, applied["adamw.rate"]],
    ["floor", floor, applied["adamw.floor"]],
    ["shrink", shrink, applied["adamw.shrink"]],
  ];
  return pairs
    .filter(([, want, got]) => want !== got)
    .slice(0, 1)
    .map(([number, want, got]) => ["schedule", { number, declared: want, applied: got ?? "none" }]);
}

/** The update computed again on secret coordinates. */
export function checkArithmetic(
  { step, metrics, ...event }: AfterStepEvent,
  declared: Declared,
  { stream, count }: { stream: SecretStream; count: number },
): { found: Found[]; report: ShadowReport } {
  const report = checkUpdate(event.before(), event.tensors(), {
    numbers: numbersOf(step, declared),
    decayed: declared.decayed,
    count,
    stream,
    except: declared.touched?.(step, metrics),
  });
  const { first, mismatches, checked } = report;
  return { found: first ? [["update", { ...first, mismatches, checked }]] : [], report };
}
