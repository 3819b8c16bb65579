/** Lines of a run's metrics.jsonl: reading, thinning, summing. Draws nothing and reads no files. */

import { InputError } from "../formats/errors.ts";

/** Numbers that were measured at one update. */
export type MetricLine = Readonly<Record<string, number>> & { readonly step: number };

/**
 * Lines of metrics.jsonl in order of steps. A last line that a crash cut off is left out; of an update that was done
 * again after a crash both lines stay, as both took time.
 * @throws InputError naming the line that is no JSON object with a step
 */
export function parseMetrics(text: string, { what = "metrics.jsonl" } = {}): MetricLine[] {
  const lines = text.split("\n");
  const cutOff = lines.pop();
  if (cutOff) lines.push(...(isLine(cutOff) ? [cutOff] : []));
  return lines
    .flatMap((line, i) => {
      if (line === "") return [];
      if (isLine(line)) return [JSON.parse(line) as MetricLine];
      throw new InputError(
        `${what}: line ${i + 1} is no metrics of an update: ${line.slice(0, 60)}; want {"step": 1, ...}`,
        { line: i + 1 },
      );
    })
    .sort((a, b) => a.step - b.step);
}

function isLine(text: string): boolean {
  try {
    const line: unknown = JSON.parse(text);
    return Number.isSafeInteger((line as MetricLine | null)?.step);
  } catch {
    return false;
  }
}

/** One metric over the updates; of an update done twice the later value. */
export function seriesOf(lines: readonly MetricLine[], metric: string): Map<number, number> {
  const values = new Map<number, number>();
  for (const line of lines) {
    const value = line[metric];
    if (typeof value === "number" && Number.isFinite(value)) values.set(line.step, value);
  }
  return values;
}

/** The newest value of a metric; undefined where it was never measured. */
export const latest = (lines: readonly MetricLine[], metric: string): number | undefined =>
  [...seriesOf(lines, metric).values()].at(-1);

/** What happened in some neighbouring updates. */
export interface Bucket {
  /** Middle of the updates. */
  readonly step: number;
  readonly mean: number;
  /** 10th and 90th percentile. */
  readonly low: number;
  readonly high: number;
}

/** A series thinned to at most `most` buckets of equally many updates: smooth lines, small files. */
export function buckets(series: ReadonlyMap<number, number>, { most = 100 } = {}): Bucket[] {
  const points = [...series];
  const size = Math.max(1, Math.ceil(points.length / most));
  return Array.from({ length: Math.ceil(points.length / size) }, (_, b) => {
    const part = points.slice(b * size, (b + 1) * size);
    const values = part.map(([, value]) => value);
    return {
      step: (part[0]![0] + part.at(-1)![0]) / 2,
      mean: values.reduce((sum, value) => sum + value, 0) / values.length,
      low: quantile(values, 0.1),
      high: quantile(values, 0.9),
    };
  });
}

/** The value below which a share `q` of the values lies, linear between neighbours; NaN of nothing. */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const [a, b] = [sorted[low] ?? Number.NaN, sorted[Math.min(low + 1, sorted.length - 1)]!];
  return a + (b - a) * (at - low);
}

/** What a run took. */
export interface Effort {
  /** Updates that are in the weights. */
  readonly steps: number;
  /** Time inside all updates, also those a crash made it do again; without tests, sheets and checkpoints. */
  readonly seconds: number;
}

export function effort(lines: readonly MetricLine[]): Effort {
  const ms = lines.reduce((sum, line) => sum + (line.ms ?? 0), 0);
  return { steps: lines.at(-1)?.step ?? 0, seconds: ms / 1000 };
}
