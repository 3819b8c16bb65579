/** Figures of studies as SVG: points and lines on plain or logarithmic axes, by Observable Plot. Knows no law and no model. */

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { COLOURS, standalone } from "../curves.ts";
import type { Point } from "../power-law.ts";

export interface PlotSeries {
  readonly label: string;
  readonly points: readonly Point[];
  /** Dots for measurements, a line for a law or a curve, dashes for a law that ignores something. */
  readonly as: "dots" | "line" | "dashes";
  /** Default: its place among the series. */
  readonly colour?: number;
}

export interface PlotOptions {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
  readonly key?: "top-right" | "bottom-left" | "bottom-right";
}

/** More than three things at once: further colours that differ in lightness too. */
const PALETTE = [...COLOURS, "#7b3294", "#8a6d00", "#555555", "#00838f", "#ad1457"];
const KEYS = { dots: "●", line: "━", dashes: "╍" } as const satisfies Record<
  PlotSeries["as"],
  string
>;
const [WIDTH, HEIGHT, KEY_LINE] = [640, 400, 19];

/** A figure that is the same in every viewer. Points that a logarithmic axis has no place for are left out. */
export function studyPlot(series: readonly PlotSeries[], options: PlotOptions): string {
  const { title, x, y, logX = false, logY = false, key = "top-right" } = options;
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const fits = (p: Point) =>
    Number.isFinite(p.x + p.y) && !(logX && p.x <= 0) && !(logY && p.y <= 0);
  const colourOf = ({ colour }: PlotSeries, i: number) => PALETTE[(colour ?? i) % PALETTE.length]!;
  const marks = series.map((each, i) => {
    const points = each.points.filter(fits).map(({ x, y }) => ({ x, y: logY ? Math.log10(y) : y }));
    const stroke = colourOf(each, i);
    if (each.as === "dots")
      return Plot.dot(points, { x: "x", y: "y", fill: stroke, stroke: "white", r: 4.5 });
    const dashes = each.as === "dashes" ? { strokeDasharray: "5 4" } : {};
    return Plot.line(points, { x: "x", y: "y", stroke, strokeWidth: 1.8, ...dashes });
  });
  const [top, right] = [key.startsWith("top"), key.endsWith("right")];
  const words = series.flatMap((each, i) =>
    each.label === "" ? [] : [{ text: each.label, fill: colourOf(each, i), as: each.as }],
  );
  const legend = words.map(({ text, fill, as }, i) =>
    Plot.text([`${KEYS[as]} ${text}`], {
      frameAnchor: key,
      dx: right ? -8 : 8,
      dy: top ? 8 + KEY_LINE * i : -8 - KEY_LINE * (words.length - 1 - i),
      fill,
      stroke: "white",
      strokeWidth: 4,
    }),
  );
  const svg = Plot.plot({
    document: document as unknown as Document,
    ...{ width: WIDTH, height: HEIGHT, marginLeft: 64, marginRight: 24 },
    ...{ marginTop: 62, marginBottom: 48 },
    x: {
      label: x,
      labelAnchor: "center",
      labelArrow: false,
      ...(logX ? { type: "log", ticks: 5, tickFormat: ".0e" } : { ticks: 6 }),
    },
    y: { label: null, grid: true, ...(logY ? logAxis(series, fits) : { nice: true, ticks: 6 }) },
    marks: [...marks, ...legend],
  });
  return standalone(svg as unknown as Element, { title, y }, { width: WIDTH, height: HEIGHT });
}

/**
 * A linear axis of logarithms: on a logarithmic one the library leaves ticks without words whose first digit is large,
 * which inside a decade may be all of them.
 */
function logAxis(series: readonly PlotSeries[], fits: (point: Point) => boolean) {
  const ticks = ticksOf(series.flatMap(({ points }) => points.filter(fits)));
  return { ticks: ticks.map(Math.log10), tickFormat: (_: number, i: number) => String(ticks[i]) };
}

/** Round values of a logarithmic axis: evenly spaced inside a decade, where 1, 2 and 5 alone would be too few. */
function ticksOf(points: readonly Point[]): number[] {
  const [low, high] = [Math.min(...points.map((p) => p.y)), Math.max(...points.map((p) => p.y))];
  if (high / low >= 10) {
    const first = Math.floor(Math.log10(low));
    const decades = Array.from(
      { length: Math.ceil(Math.log10(high)) - first },
      (_, i) => first + i,
    );
    return decades.flatMap((decade) => [1, 2, 5].map((d) => Number(`${d}e${decade}`)));
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough || high));
  const step = power * ([1, 2, 5].find((each) => each * power >= rough) ?? 10);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toFixed(digits)));
}
