/** Figures of a run's page as SVG without size or colours of its own: the page's style has them. By Observable Plot. */

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { buckets, type MetricLine, seriesOf } from "../metrics.ts";
import type { ReportAlarm, ReportEvent } from "./contents.ts";

export interface Chart {
  readonly title: string;
  /** Of the vertical axis. */
  readonly unit: string;
  readonly svg: string;
  /** Names and colours of its lines. */
  readonly key: readonly {
    readonly label: string;
    readonly colour: string;
    readonly dots: boolean;
  }[];
}

/** Wide enough for words, narrow enough to stay readable on a telephone. */
const [WIDTH, HEIGHT] = [420, 240];
/** Of figures that take the whole page; a telephone scrolls them. */
const WIDE = 1000;
const COLOURS = ["var(--c0)", "var(--c1)", "var(--c2)", "var(--c3)"] as const;

interface Curve {
  readonly title: string;
  readonly unit: string;
  /** Metrics with their names; those that a run did not measure are left out. Test metrics are dots. */
  readonly lines: readonly (readonly [metric: string, label: string])[];
  readonly percent?: true;
  readonly log?: true;
}

const CURVES: readonly Curve[] = [
  {
    ...{ title: "Loss", unit: "log scale", log: true },
    lines: [
      ["loss", "train"],
      ["testLoss", "test"],
      ["lastLoss", "last scale, train"],
      ["testLastLoss", "last scale, test"],
    ],
  },
  { title: "Learning rate", unit: "per update", lines: [["lr", "rate"]] },
  { title: "Time of an update", unit: "ms", lines: [["ms", "update"]] },
  {
    ...{ title: "Norm of the gradient", unit: "log scale, before clipping", log: true },
    lines: [["gradNorm", "gradient"]],
  },
  {
    ...{ title: "Accuracy", unit: "%", percent: true },
    lines: [
      ["accuracy", "train"],
      ["testAccuracy", "test"],
    ],
  },
  {
    ...{ title: "Reconstruction", unit: "PSNR, dB" },
    lines: [
      ["psnr", "train"],
      ["testPsnr", "test"],
    ],
  },
  {
    ...{ title: "Codes in use", unit: "% of the codebook", percent: true },
    lines: [["usage", "running mean"]],
  },
];

interface Series {
  readonly label: string;
  readonly colour: string;
  readonly dots: boolean;
  readonly points: readonly { step: number; mean: number; low: number; high: number }[];
}

/** Every figure that the metrics allow; alarms are lines across all of them. */
export function reportCharts(
  metrics: readonly MetricLine[],
  alarms: readonly ReportAlarm[],
): Chart[] {
  return CURVES.flatMap((curve) => {
    const series = curve.lines.flatMap(([metric, label], i): Series[] => {
      const values = [...seriesOf(metrics, metric)].filter(([, v]) => !curve.log || v > 0);
      if (values.length === 0) return [];
      const by = curve.percent ? 100 : 1;
      const dots = metric.startsWith("test");
      const points = dots
        ? values.map(([step, v]) => ({ step, mean: v, low: v, high: v }))
        : buckets(new Map(values), { most: 120 });
      return [
        {
          ...{ label, dots, colour: COLOURS[i]! },
          points: points.map(({ step, mean, low, high }) => ({
            ...{ step, mean: mean * by, low: low * by, high: high * by },
          })),
        },
      ];
    });
    if (series.length === 0) return [];
    const { title, unit } = curve;
    const key = series.map(({ label, colour, dots }) => ({ label, colour, dots }));
    return [
      { title, unit, key, svg: curveSvg(curve, series, { last: lastStep(metrics), alarms }) },
    ];
  });
}

export const lastStep = (metrics: readonly MetricLine[]): number =>
  Math.max(1, ...metrics.map(({ step }) => step));

const colourOf = ({ severity }: ReportAlarm): string =>
  severity === "high" ? "var(--bad)" : "var(--warn)";

function curveSvg(
  { log, title }: Curve,
  series: readonly Series[],
  { last, alarms }: { last: number; alarms: readonly ReportAlarm[] },
): string {
  const marks = series.flatMap(({ points, colour, dots }) =>
    dots
      ? [
          Plot.lineY(points, { x: "step", y: "mean", stroke: colour, strokeDasharray: "3 3" }),
          Plot.dot(points, { x: "step", y: "mean", fill: colour, r: 3.5 }),
        ]
      : [
          Plot.areaY(points, {
            ...{ x: "step", y1: "low", y2: "high", fill: colour, fillOpacity: 0.18 },
          }),
          Plot.lineY(points, { x: "step", y: "mean", stroke: colour, strokeWidth: 2 }),
        ],
  );
  const rules = alarms.map((alarm) =>
    Plot.ruleX([alarm.step], { stroke: colourOf(alarm), strokeWidth: 1.5, strokeOpacity: 0.7 }),
  );
  return figure(title, {
    ...{ width: WIDTH, height: HEIGHT, marginLeft: 54, marginRight: 14, marginBottom: 30 },
    marginTop: 10,
    x: { label: null, ticks: 4, domain: [0, last] },
    y: {
      ...{ label: null, grid: true, ticks: 5, tickFormat: shortNumber },
      ...(log
        ? { type: "log", tickFormat: "~g" }
        : { nice: true, zero: title !== "Reconstruction" }),
    },
    marks: [...rules, ...marks],
  });
}

/** "40k", "0.0008", "2e-7": at most six characters. */
const shortNumber = (x: number): string =>
  Math.abs(x) >= 10_000
    ? `${x / 1000}k`
    : x !== 0 && Math.abs(x) < 1e-4
      ? x.toExponential()
      : `${Number(x.toPrecision(6))}`;

const ROWS = ["alarms", "audits", "checkpoints", "processes"] as const;
const ROW_OF: Readonly<Record<ReportEvent["kind"], (typeof ROWS)[number]>> = {
  ...{ start: "processes", resume: "processes", end: "processes", event: "alarms" },
  ...{ checkpoint: "checkpoints", audit: "audits" },
};

/** What happened at which update; undefined where nothing is known but the metrics. */
export function timeline(
  alarms: readonly ReportAlarm[],
  events: readonly ReportEvent[],
  last: number,
): string | undefined {
  const points = [
    ...events.map(({ kind, step, bad }) => ({
      ...{ step, row: ROW_OF[kind], fill: bad ? "var(--bad)" : "var(--c0)" },
    })),
    ...alarms.map((alarm) => ({ step: alarm.step, row: "alarms" as const, fill: colourOf(alarm) })),
  ];
  if (points.length === 0) return undefined;
  const rows = ROWS.filter((row) => points.some((p) => p.row === row));
  return figure("What happened when", {
    ...{ width: WIDE, height: 44 + 26 * rows.length, marginLeft: 92, marginRight: 14 },
    ...{ marginTop: 6, marginBottom: 30 },
    x: { label: null, ticks: 6, domain: [0, Math.max(last, ...points.map(({ step }) => step))] },
    y: { label: null, domain: rows, tickSize: 0 },
    marks: [
      Plot.ruleY(rows, { stroke: "var(--line)" }),
      Plot.dot(points, { x: "step", y: "row", fill: "fill", r: 4.5 }),
    ],
  });
}

const USAGE = /^usage\/(\d+)x\d+$/;

/** Share of the codebook that each scale uses, over the updates; undefined where no scale was measured. */
export function usageMap(
  metrics: readonly MetricLine[],
): { svg: string; most: number } | undefined {
  const names = [...new Set(metrics.flatMap((line) => Object.keys(line)))]
    .filter((name) => USAGE.test(name))
    .sort((a, b) => Number(USAGE.exec(a)![1]) - Number(USAGE.exec(b)![1]));
  const last = lastStep(metrics);
  const cells = names.flatMap((name) => {
    const thinned = buckets(seriesOf(metrics, name), { most: 60 });
    const half = thinned.length > 1 ? (thinned[1]!.step - thinned[0]!.step) / 2 : last / 2;
    return thinned.map(({ step, mean }) => ({
      ...{
        scale: name.slice("usage/".length),
        x1: Math.max(0, step - half),
        x2: step + half,
        mean,
      },
    }));
  });
  if (cells.length === 0) return undefined;
  const most = Math.max(...cells.map(({ mean }) => mean), 1e-9);
  const svg = figure("Codes in use by scale", {
    ...{ width: WIDE, height: 40 + 22 * names.length, marginLeft: 60, marginRight: 14 },
    ...{ marginTop: 6, marginBottom: 30 },
    x: { label: null, ticks: 6, domain: [0, last] },
    y: { label: null, type: "band", padding: 0.08, tickSize: 0 },
    marks: [
      Plot.barX(cells, {
        ...{ x1: "x1", x2: "x2", y: "scale", insetLeft: 0, insetRight: -0.5 },
        ...{ fill: "var(--c2)", fillOpacity: ({ mean }: { mean: number }) => mean / most },
      }),
    ],
  });
  return { svg, most };
}

/** Scales with the page: a view box, and colours of the page's style. */
function figure(title: string, options: Plot.PlotOptions): string {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const svg = Plot.plot({ document: document as unknown as Document, ...options });
  const element = svg as unknown as Element;
  for (const style of element.querySelectorAll("style")) style.remove();
  const inside = (element as unknown as { innerHTML: string }).innerHTML;
  const { width, height } = options;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}" fill="currentColor" text-anchor="middle">${inside}</svg>`;
}
