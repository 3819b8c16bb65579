/** Metrics and curves: what a crash leaves is read, figures are whole SVGs that stay the same. */

import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { decodePng } from "../formats/png.ts";
import { trainingCurves } from "./curves.ts";
import { figurePng } from "./figure.node.ts";
import { buckets, effort, latest, type MetricLine, parseMetrics, quantile } from "./metrics.ts";

const run: MetricLine[] = Array.from({ length: 500 }, (_, i) => ({
  ...{ step: i + 1, loss: 2 / (1 + i / 50), lastLoss: 3 / (1 + i / 50), ms: 10 },
  ...{ accuracy: i / 1000, lastAccuracy: i / 2000, psnr: 10 + i / 50, l1: 1 / (i + 1) },
  ...{ usage: 0.5, perplexity: 200, vq: 0.1, lr: 1e-3, gradNorm: 1 },
}));
const tests: MetricLine[] = [100, 300, 500].map((step) => ({
  ...{ step, testLoss: 2.5, testLastLoss: 3, testAccuracy: 0.2, testPsnr: 15 },
}));

describe("metrics", () => {
  test("of a run that was killed are read without the line that was cut off", () => {
    const lines = parseMetrics('{"step":1,"loss":2}\n{"step":2,"loss":1}\n{"step":3,"lo');
    expect(lines.map(({ step }) => step)).toEqual([1, 2]);
  });

  test("with a strange line in the middle are refused, with the line's number", () => {
    expect(() => parseMetrics('{"step":1}\nnonsense\n{"step":2}\n', { what: "m" })).toThrow(
      /m: line 2 is no metrics of an update: nonsense/,
    );
  });

  test("count the time of updates done twice, and keep the later value", () => {
    const lines = parseMetrics(
      '{"step":1,"loss":3,"ms":5}\n{"step":2,"loss":2,"ms":5}\n{"step":2,"loss":1,"ms":5}\n',
    );
    expect(effort(lines)).toEqual({ steps: 2, seconds: 0.015 });
    expect(latest(lines, "loss")).toBe(1);
    expect(latest(lines, "psnr")).toBeUndefined();
  });

  test("are thinned to means that keep the mean of all", () => {
    const series = new Map(run.map(({ step, loss }) => [step, loss!]));
    const thin = buckets(series, { most: 50 });
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(thin).toHaveLength(50);
    expect(mean(thin.map((b) => b.mean))).toBeCloseTo(mean([...series.values()]), 10);
    for (const { low, mean: middle, high } of thin) {
      expect(low).toBeLessThanOrEqual(middle);
      expect(high).toBeGreaterThanOrEqual(middle);
    }
  });

  test("quantiles lie between neighbours", () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([7], 0.1)).toBe(7);
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe("training curves", () => {
  const names = {
    vqvae: ["loss", "psnr", "usage", "perplexity"],
    decoder: ["loss", "psnr"],
    var: ["loss", "accuracy"],
  };

  test.each(["vqvae", "decoder", "var"] as const)(
    "of a %s run: one figure per group of metrics",
    (kind) => {
      const figures = trainingCurves(kind, [...run, ...tests]);
      expect(figures.map(({ name }) => name)).toEqual(names[kind]);
      expect(trainingCurves(kind, [...run, ...tests])).toEqual(figures);
      for (const { svg } of figures) {
        expect(svg).not.toMatch(/NaN|undefined|<style|href|@import/);
        expect(svg.length).toBeLessThan(40_000);
      }
    },
  );

  test("show the test split as points, one per measurement", () => {
    const [figure] = trainingCurves("var", [...run, ...tests]);
    const { document } = parseHTML(figure!.svg);
    expect(document.querySelectorAll("circle")).toHaveLength(2 * tests.length);
    expect(figure!.svg).toContain("last scale, test");
    expect(figure!.svg).toContain("nats per token");
  });

  test("leave out what was not measured, and are none for a run without updates", () => {
    const [figure] = trainingCurves("var", run);
    expect(figure!.svg).not.toContain("last scale, test");
    expect(trainingCurves("vqvae", [])).toEqual([]);
  });

  test("become pixels at twice their size, black and coloured on white", async () => {
    const [figure] = trainingCurves("vqvae", run, { width: 320, height: 200 });
    const { width, height, channels, data } = await decodePng(await figurePng(figure!.svg));
    expect([width, height]).toEqual([640, 400]);
    expect([...data.subarray(0, 3)]).toEqual([255, 255, 255]);
    let dark = 0;
    for (let i = 0; i < data.length; i += channels) dark += data[i]! < 128 ? 1 : 0;
    expect(dark).toBeGreaterThan(500);
    await expect(figurePng("<svg>")).rejects.toThrow(/want <svg with width and height/);
  });
});
