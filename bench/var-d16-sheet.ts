/** What the VAR benchmark found, as tables. Measures nothing. */

import type { PatchNum } from "../src/image/scales.ts";
import type { Spread } from "./contest.ts";
import { PRECISIONS, stagesOf, type WhyAnswer } from "./var-d16-case.ts";

/** Times are milliseconds of a whole batch. */
export interface Side {
  readonly total: Spread;
  readonly stages: Readonly<Record<string, Spread>>;
  /** Until the files are read and checked. */
  readonly loadMs: number;
  /** The first batch, with everything that is compiled or packed at first use. */
  readonly firstMs: number;
  readonly peakBytes: number;
}

/** How far the two sides drew the same. */
export interface Parity {
  readonly equal: number;
  readonly of: number;
  /** Largest difference of a pixel in [0, 1], over pictures whose tokens are all equal; null where there is none. */
  readonly image: number | null;
}

/** Where a picture first parts from the other side's. */
export interface Split extends WhyAnswer {
  readonly picture: number;
  readonly scale: number;
  readonly token: number;
  readonly ours: number;
  readonly theirs: number;
}

export interface Result {
  readonly batch: number;
  readonly precision: string;
  readonly patchNums: readonly PatchNum[];
  readonly date: string;
  readonly rounds: number;
  readonly settings: Readonly<Record<string, number>>;
  readonly ours?: Side & { readonly compileMs: number };
  readonly torch?: Side & {
    readonly variant: string;
    /** Decoder times of the other ways to run it. */
    readonly trials: Readonly<Record<string, number>>;
    /** With the modulation at each scale, as the released code has it. */
    readonly released: Spread;
    /** What kept PyTorch from its best, in sentences. */
    readonly doubts: readonly string[];
  };
  /** Of each round, PyTorch's time / ours: above 1 we are faster. */
  readonly ratio?: Spread;
  readonly releasedRatio?: Spread;
  readonly parity?: { readonly greedy: Parity; readonly drawn: Parity };
  readonly splits?: readonly Split[];
  /** Our peak as it was measured later, without new times. */
  readonly peakAgain?: { readonly date: string; readonly bytes: number; readonly together: number };
  readonly machine: Readonly<Record<string, unknown>>;
}

const ms = (s?: Spread) => (s ? s.median.toFixed(s.median < 100 ? 1 : 0) : "-");
const range = (s?: Spread) => (s ? ` (${s.min.toFixed(0)}-${s.max.toFixed(0)})` : "");
const times = (a?: number, b?: number) => (a && b ? `${(a / b).toFixed(2)}x` : "-");
const whole = (s?: Spread) =>
  s ? `**${s.median.toFixed(2)}x** (${s.min.toFixed(2)}-${s.max.toFixed(2)})` : "-";
const second = (value?: number) => (value === undefined ? "-" : `${(value / 1000).toFixed(1)} s`);
const gib = (bytes?: number) => (bytes === undefined ? "-" : `${(bytes / 2 ** 30).toFixed(2)} GiB`);
const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;

/** The table of one result. */
export function table(r: Result): string {
  const { ours, torch } = r;
  const stage = ([name, title]: [string, string]) => {
    const [a, b] = [ours?.stages[name], torch?.stages[name]];
    return row([title, ms(a), ms(b), times(b?.median, a?.median)]);
  };
  return [
    row(["stage", "Underpaint, ms", "PyTorch, ms", "times as fast"]),
    "|---|---|---|---|",
    ...stagesOf(r.patchNums).map(stage),
    row([
      "**total**",
      ms(ours?.total) + range(ours?.total),
      ms(torch?.total) + range(torch?.total),
      whole(r.ratio),
    ]),
    row([
      "total, PyTorch's modulation at each scale",
      "",
      ms(torch?.released) + range(torch?.released),
      whole(r.releasedRatio),
    ]),
    row(["per picture", second(perPicture(r, ours)), second(perPicture(r, torch)), ""]),
    row(["reading the files", second(ours?.loadMs), second(torch?.loadMs), ""]),
    row(["first batch", second(ours?.firstMs), second(torch?.firstMs), ""]),
    row(["both together", second(toFirst(ours)), second(toFirst(torch)), ""]),
    row(["compiling, part of the first batch", second(ours?.compileMs), "", ""]),
    row([
      "peak memory",
      gib(ourPeak(r)),
      gib(torch?.peakBytes),
      times(torch?.peakBytes, ourPeak(r)),
    ]),
  ].join("\n");
}

const ourPeak = ({ ours, peakAgain }: Result) => peakAgain?.bytes ?? ours?.peakBytes;
const plural = (n: number) => (n === 1 ? "one picture" : `${n} pictures`);
const toFirst = (side?: Side) => side && side.loadMs + side.firstMs;
const perPicture = ({ batch }: Result, side?: Side) => side && side.total.median / batch;

/** One sentence for each thing that was promised. */
export function verdicts(r: Result): string[] {
  const { ratio, ours, torch, parity, precision, batch } = r;
  const out: string[] = [];
  const target = PRECISIONS[precision]?.target;
  if (ratio && target)
    out.push(
      `Speed: ${ratio.median.toFixed(2)}x, wanted ${target.faster}x: ${said(ratio.median >= target.faster)}.`,
    );
  if (ours && torch && target) {
    const share = ourPeak(r)! / torch.peakBytes;
    const { peakAgain: again } = r;
    const when = again
      ? ` Ours measured again on ${again.date}, ${plural(again.together)} at a time as the library draws now; the times and ${gib(ours.peakBytes)} were measured before that.`
      : "";
    out.push(
      `Memory: ${share.toFixed(2)} of PyTorch's, wanted at most ${target.memory}: ${said(share <= target.memory)}.${when}`,
    );
  }
  for (const [how, p] of Object.entries(parity ?? {})) {
    const image =
      p.image === null
        ? "no picture has all tokens equal"
        : `pictures differ by at most ${p.image.toExponential(1)}`;
    const promised = how === "greedy" ? target?.image : undefined;
    const met = p.equal === p.of && p.image !== null && p.image <= (promised ?? 0);
    const verdict = promised === undefined ? "" : `, wanted all and ${promised}: ${said(met)}`;
    out.push(
      `Same work, ${how}: ${p.equal} of ${p.of} tokens equal (${batch} x ${p.of / batch}), ${image}${verdict}.`,
    );
  }
  for (const {
    picture,
    scale,
    token,
    ours: mine,
    theirs,
    margin,
    left,
    areNeighbours,
  } of r.splits ?? [])
    out.push(
      `Picture ${picture + 1} parts at token ${token + 1} of scale ${scale + 1}: its uniform number lies ${margin.toExponential(0)} from a bound between two of ${left} codes; ${mine} here, ${theirs} there${areNeighbours ? ", its neighbour: rounding" : ""}.`,
    );
  for (const doubt of torch?.doubts ?? []) out.push(`PyTorch was not at its best: ${doubt}.`);
  return out;
}

const said = (met: boolean) => (met ? "met" : "MISSED");

/** The whole page. */
export const sheet = (
  results: readonly Result[],
): string => `# Drawing a 256-pixel picture: Underpaint and PyTorch on the CPU

VAR of depth 16 with the released layout (310 M parameters, tokenizer of 109 M), weights from a hash, the same two files
for both sides, classifier-free guidance, float32 in PyTorch. Batches of both sides alternate; medians with least and
greatest, in ms. The ratio is taken of each round: above 1 we are faster. PyTorch computes the modulation of a class
once, like us; the line below the total has it at each scale, as the released code does. Underpaint also keeps it from
picture to picture: drawing a class for the first time takes some 0.1 s more (in "first batch"), as the weights for it
are read from their file and not held. Of a batch Underpaint draws as many pictures at a time as are fastest, here one
(batches.md), PyTorch all. PyTorch's decoder runs the way that was fastest in a trial before. Peak is the largest resident memory of each process, reading the files included.

"Same work": tokens that are equal on both sides, once for the likeliest code everywhere (greedy) and once for the
settings that were timed (drawn, from the same uniform numbers). A near tie that rounding decides otherwise changes
every later scale of that picture; pixels are compared where all tokens are equal.

${results.map(section).join("\n\n")}
`;

const section = (r: Result): string => `## Batch ${r.batch}, ${r.precision}

${table(r)}

${verdicts(r)
  .map((line) => `- ${line}`)
  .join("\n")}
- ${r.date}, ${r.rounds} rounds, ${list(r.settings)}; PyTorch's decoder: ${r.torch?.variant} (trials in ms: ${list(r.torch?.trials ?? {})})
- ${list(r.machine)}`;

const list = (facts: Readonly<Record<string, unknown>>) =>
  Object.entries(facts)
    .map(([k, v]) => `${k} ${typeof v === "number" && !Number.isInteger(v) ? v.toFixed(2) : v}`)
    .join(", ");
