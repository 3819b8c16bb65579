/** Training curves as SVG, by Observable Plot. Reads no files and makes no pixels: see figure.node.ts. */

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { buckets, type MetricLine, seriesOf } from "./metrics.ts";

/** What the runs of a kind of model measure; "decoder": a tokenizer of which the decoder alone was trained. */
export type CurveKind = "vqvae" | "decoder" | "var";

/** One figure: a name for files, a sentence for people. */
export interface CurveFigure {
  readonly name: string;
  readonly title: string;
  readonly svg: string;
}

interface Series {
  readonly metric: string;
  readonly label: string;
  /** Index into COLOURS; the train line and test points of one thing share it. */
  readonly colour: number;
  /** Test points are few and exact; train lines are thinned means. */
  readonly test?: boolean;
}

interface Curve {
  readonly name: string;
  readonly title: string;
  /** Label of the vertical axis with its unit. */
  readonly y: string;
  readonly log?: boolean;
  /** The corner that the curves leave free. */
  readonly key: "top-right" | "bottom-right";
  readonly percent?: boolean;
  readonly series: readonly Series[];
}

const train = (metric: string, label: string, colour: number): Series => ({
  metric,
  label,
  colour,
});
const test = (metric: string, label: string, colour: number): Series => ({
  metric,
  label,
  colour,
  test: true,
});

const reconstruction = (whose: string): Curve => ({
  name: "psnr",
  title: `${whose}: reconstruction`,
  y: "PSNR (dB)",
  key: "bottom-right",
  series: [train("psnr", "train batches", 0), test("testPsnr", "test split", 1)],
});

/** Every figure there is; series that a run did not measure are left out. */
const CURVES: Readonly<Record<CurveKind, readonly Curve[]>> = {
  vqvae: [
    {
      name: "loss",
      title: "Tokenizer: loss and its parts",
      y: "loss (log scale)",
      log: true,
      key: "top-right",
      series: [
        train("loss", "whole loss, train", 0),
        train("l1", "mean absolute error, train", 1),
        train("vq", "quantizer, train", 2),
      ],
    },
    reconstruction("Tokenizer"),
    {
      name: "usage",
      title: "Tokenizer: share of the codebook in use",
      y: "codes in use (%)",
      key: "bottom-right",
      percent: true,
      series: [train("usage", "running mean, train", 0)],
    },
    {
      name: "perplexity",
      title: "Tokenizer: perplexity of the codes",
      y: "perplexity (codes)",
      key: "bottom-right",
      series: [train("perplexity", "running mean, train", 0)],
    },
  ],
  decoder: [
    {
      name: "loss",
      title: "Decoder alone: parts of the loss",
      y: "before weighting (log scale)",
      log: true,
      key: "top-right",
      series: [
        train("l1", "mean absolute error, train", 0),
        train("perceptual", "perceptual distance, train", 1),
        train("judge", "discriminator, train", 2),
      ],
    },
    reconstruction("Decoder alone"),
  ],
  var: [
    {
      name: "loss",
      title: "Transformer: cross-entropy per token",
      y: "loss (nats per token)",
      key: "top-right",
      series: [
        train("loss", "all scales, train", 0),
        test("testLoss", "all scales, test", 0),
        train("lastLoss", "last scale, train", 1),
        test("testLastLoss", "last scale, test", 1),
      ],
    },
    {
      name: "accuracy",
      title: "Transformer: tokens whose likeliest code is the true one",
      y: "accuracy (%)",
      key: "bottom-right",
      percent: true,
      series: [
        train("accuracy", "all scales, train", 0),
        test("testAccuracy", "all scales, test", 0),
        train("lastAccuracy", "last scale, train", 1),
      ],
    },
  ],
};

/** Distinct also for the colour-blind, and dark enough on white. */
export const COLOURS = ["#1f5fa8", "#c4510b", "#2e7d32"] as const;
const INK = "#222222";
const FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif";
const KEY_LINE = 19; // pixels from one line of the key to the next

/** All figures that the metrics of a run allow; none for an empty run. */
export function trainingCurves(
  kind: CurveKind,
  lines: readonly MetricLine[],
  { width = 640, height = 360 }: { width?: number; height?: number } = {},
): CurveFigure[] {
  return CURVES[kind].flatMap((curve) => {
    const series = curve.series.flatMap((each) => {
      const values = seriesOf(lines, each.metric);
      return values.size > 0 ? [{ ...each, points: pointsOf(values, each, curve) }] : [];
    });
    if (series.length === 0) return [];
    const svg = plot(curve, series, { width, height });
    return [{ name: curve.name, title: curve.title, svg }];
  });
}

interface Point {
  readonly step: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

function pointsOf(values: Map<number, number>, { test }: Series, curve: Curve): Point[] {
  const by = curve.percent ? 100 : 1;
  const points = test
    ? [...values].map(([step, value]) => ({ step, mean: value, low: value, high: value }))
    : buckets(values);
  return points
    .map(({ step, mean, low, high }) => ({ step, mean: mean * by, low: low * by, high: high * by }))
    .filter(({ low }) => !curve.log || low > 0);
}

/** A thick line is the mean of neighbouring updates, its band their middle 80 %; dots are the test split. */
function plot(
  curve: Curve,
  series: readonly (Series & { points: readonly Point[] })[],
  { width, height }: { width: number; height: number },
): string {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const marks = series.flatMap(({ points, colour, test }) => {
    const stroke = COLOURS[colour]!;
    const line = { x: "step", y: "mean", stroke } as const;
    if (test)
      return [
        Plot.lineY(points, { ...line, strokeWidth: 1, strokeDasharray: "3 3" }),
        Plot.dot(points, { x: "step", y: "mean", fill: stroke, stroke: "white", r: 4 }),
      ];
    return [
      Plot.areaY(points, { x: "step", y1: "low", y2: "high", fill: stroke, fillOpacity: 0.15 }),
      Plot.lineY(points, { ...line, strokeWidth: 2 }),
    ];
  });
  const top = curve.key === "top-right";
  const key = series.map(({ label, colour, test }, i) =>
    Plot.text([`${test ? "● " : "━ "}${label}`], {
      frameAnchor: curve.key,
      dx: -8,
      dy: top ? 8 + KEY_LINE * i : -8 - KEY_LINE * (series.length - 1 - i),
      fill: COLOURS[colour]!,
      stroke: "white",
      strokeWidth: 4,
    }),
  );
  const svg = Plot.plot({
    document: document as unknown as Document,
    width,
    height,
    marginLeft: 64,
    marginRight: 24,
    marginTop: 62,
    marginBottom: 48,
    x: {
      label: "updates",
      labelAnchor: "center",
      labelArrow: false,
      ticks: 6,
      domain: [0, lastStep(series)],
    },
    y: {
      label: null, // below the title instead, where there is room for words
      grid: true,
      ...(curve.log
        ? { type: "log", ticks: logTicks(series), tickFormat: String }
        : { nice: true, ticks: 6 }),
    },
    marks: [...marks, ...key],
  });
  return standalone(svg as unknown as Element, curve, { width, height });
}

const lastStep = (series: readonly { points: readonly Point[] }[]): number =>
  Math.max(1, ...series.map(({ points }) => points.at(-1)?.step ?? 0));

/** 1, 2 and 5 of each decade that is shown. */
function logTicks(series: readonly { points: readonly Point[] }[]): number[] {
  const all = series.flatMap(({ points }) => points.flatMap(({ low, high }) => [low, high]));
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const decades = Array.from(
    { length: Math.floor(Math.log10(most)) - Math.floor(Math.log10(least)) + 1 },
    (_, i) => Math.floor(Math.log10(least)) + i,
  );
  return decades
    .flatMap((decade) => [1, 2, 5].map((d) => Number(`${d}e${decade}`)))
    .filter((tick) => tick >= least && tick <= most);
}

/** An SVG that is the same in every viewer: its own background, size, colour and fonts, no style sheet. */
export function standalone(
  svg: Element,
  { title, y }: { readonly title: string; readonly y: string },
  { width, height }: { width: number; height: number },
): string {
  for (const style of svg.querySelectorAll("style")) style.remove();
  const inside = (svg as unknown as { innerHTML: string }).innerHTML;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`,
    ` fill="${INK}" color="${INK}" font-family="${FONT}" font-size="14" text-anchor="middle">`,
    `<title>${title}</title><rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="16" y="24" font-size="16" font-weight="bold" text-anchor="start">${title}</text>`,
    `<text x="16" y="46" text-anchor="start">${y}</text>`,
    `${inside}</svg>\n`,
  ].join("");
}
