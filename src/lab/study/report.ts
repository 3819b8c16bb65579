/** Tables of studies as Markdown. Measures nothing and writes no files. */

import type { Rebuilt } from "./rebuilt.node.ts";
import type { MeasuredRow } from "./rows.node.ts";
import { type FittedLaw, MEASURES, type ScalingLaws, type TrainedSize } from "./scaling.ts";

/** What a table says below its title: how it was made. */
export interface ReportFacts {
  readonly title: string;
  /** What makes it again, in order: the tokenizers where it is known, then the study. */
  readonly commands: readonly string[];
  /** One sentence each. */
  readonly notes: readonly string[];
}

const digits = (x: number, n = 3): string => (Number.isFinite(x) ? x.toPrecision(n) : "–");
const giga = (x: number): string => digits(x / 1e9);
const tera = (x: number): string => digits(x / 1e12);
const million = (x: number): string => digits(x / 1e6);
const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
const ruler = (columns: number, left: number): string =>
  line(Array.from({ length: columns }, (_, i) => (i < left ? "---" : "---:")));

const head = ({ title, commands, notes }: ReportFacts): string[] => [
  `# ${title}`,
  "",
  "```sh",
  ...commands,
  "```",
  "",
  ...notes.map((note) => `- ${note}`),
  "",
];

const COLUMNS = [
  ...["model", "guidance", "pictures", "FID", "KID·1000", "95 %", "IS", "pictures/s", "ms alone"],
  ...["GFLOP/picture", "M parameters", "updates", "training TFLOP"],
] as const;

const cells = (row: MeasuredRow): string[] => {
  const { figures: f, drawing } = row;
  const interval = f.kidInterval?.map((v) => (1000 * v).toFixed(2)).join(" to ") ?? "";
  return [
    ...[row.title, String(drawing.guidance ?? 0), String(row.samples)],
    ...[
      f.fid.toFixed(2),
      (1000 * f.kid).toFixed(2),
      interval,
      f.is.toFixed(2),
      digits(row.imagesPerSecond),
      digits(row.msAlone),
    ],
    ...[giga(row.flopsPerImage), million(row.parameters), String(row.updates)],
    tera(row.trainingFlops),
  ];
};

export const rowsTable = (rows: readonly MeasuredRow[]): string[] => [
  line(COLUMNS),
  ruler(COLUMNS.length, 1),
  ...rows.map((row) => line(cells(row))),
];

/** For every model the row of the least FID. */
export const bestRows = (rows: readonly MeasuredRow[]): MeasuredRow[] =>
  [...new Set(rows.map(({ title }) => title))].map((title) =>
    rows
      .filter((row) => row.title === title)
      .reduce((best, row) => (row.figures.fid < best.figures.fid ? row : best)),
  );

export interface CompareRows {
  /** One row for each model, at the guidance that was chosen. */
  readonly best: readonly MeasuredRow[];
  /** Every guidance that was tried, on as many pictures as the choice was made. */
  readonly tried: readonly MeasuredRow[];
  readonly rebuilt: readonly Rebuilt[];
}

export function compareReport(facts: ReportFacts, { best, tried, rebuilt }: CompareRows): string {
  return [
    ...head(facts),
    "## Each model at its best guidance",
    "",
    ...rowsTable(best),
    "",
    "## Tokenizers",
    "",
    line(["tokenizer", "maps", "rFID", "rKID·1000", "PSNR (dB)"]),
    ruler(5, 2),
    ...rebuilt.map(({ name, maps, fid, kid, psnr }) =>
      line([name, maps, fid.toFixed(2), (1000 * kid).toFixed(2), psnr.toFixed(2)]),
    ),
    "",
    "## Every guidance that was tried",
    "",
    ...rowsTable(tried),
    "",
  ].join("\n");
}

/** The ablation in the paper's order; rows that go against the paper (FID rises) are named. */
export function ablationReport(facts: ReportFacts, rows: readonly MeasuredRow[]): string {
  const against = rows.flatMap((row, i) => {
    const before = rows[i - 1];
    return before && row.figures.fid > before.figures.fid
      ? [
          `- **${row.title}** goes against the paper: FID ${row.figures.fid.toFixed(2)} after ${before.figures.fid.toFixed(2)}.`,
        ]
      : [];
  });
  const verdict = against.length
    ? ["Rows that go against the paper:", "", ...against]
    : ["Every row improves on the one before it, as in the paper."];
  return [...head(facts), ...rowsTable(rows), "", ...verdict, ""].join("\n");
}

const interval = ([low, high]: readonly [number, number]): string =>
  `${digits(low)} to ${digits(high)}`;

const lawCells = ({ measure, against, floor, law, intervals, heldOut }: FittedLaw): string[] => [
  ...[MEASURES[measure], against, floor ? digits(law.floor) : "none", digits(law.exponent)],
  ...[interval(intervals.exponent), law.pearson.toFixed(4), `${(100 * law.error).toFixed(2)} %`],
  ...(heldOut
    ? [
        `${digits(heldOut.predicted, 4)} (${interval(heldOut.interval)})`,
        digits(heldOut.measured, 4),
        heldOut.inside ? "inside" : "**outside**",
      ]
    : ["too few sizes", "", ""]),
];

export function scalingReport(
  facts: ReportFacts,
  { sizes, laws }: { sizes: readonly TrainedSize[]; laws: ScalingLaws },
): string {
  return [
    ...head(facts),
    "## Models",
    "",
    line(["depth", "width", "N (blocks), M", "tokens, M", "TFLOP", ...Object.values(MEASURES)]),
    ruler(9, 0),
    ...sizes.map(({ depth, width, parameters, tokensPerUpdate, flopsPerUpdate, evaluations }) => {
      const last = evaluations.at(-1)!;
      return line([
        ...[depth, width, million(parameters), million(tokensPerUpdate * last.step)],
        tera(flopsPerUpdate * last.step),
        ...(Object.keys(MEASURES) as (keyof typeof MEASURES)[]).map((m) => last[m].toFixed(4)),
      ]);
    }),
    "",
    "## Laws",
    "",
    line([
      ...["measure", "against", "floor", "exponent", "95 %", "Pearson", "scatter"],
      ...["largest foretold (95 %)", "measured", ""],
    ]),
    ruler(10, 2),
    ...laws.laws.map((law) => line(lawCells(law))),
    "",
    "## Best model for the compute",
    "",
    line(["TFLOP", "loss", "depth"]),
    ruler(3, 0),
    ...laws.frontier.map(({ x, y, depth }) => line([tera(x), y.toFixed(4), depth])),
    "",
  ].join("\n");
}
