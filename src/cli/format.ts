/** Numbers and tables as people read them. Prints nothing. */

const THOUSANDS = /\B(?=(\d{3})+$)/g;

/** 12345 -> "12,345". Whole numbers, the same in every locale. */
export const count = (n: number): string => String(Math.round(n)).replace(THOUSANDS, ",");

/** "1 image", "32 images". */
export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`;

/** Milliseconds -> "35 ms", "4.2 s", "3 min 20 s", "2 h 5 min". */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const PREFIXES = ["", "k", "M", "G", "T", "P", "E"] as const;

/** Three figures with a decimal prefix: 1234567 -> "1.23 M". */
export function si(n: number, unit = ""): string {
  let [value, i] = [n, 0];
  while (Math.abs(value) >= 999.5 && i < PREFIXES.length - 1) [value, i] = [value / 1000, i + 1];
  const figures = i === 0 && Number.isInteger(value) ? String(value) : value.toPrecision(3);
  return `${figures} ${PREFIXES[i]}${unit}`.trimEnd();
}

/** 20_000_000 -> "20.0 MB". */
export const bytes = (n: number): string => si(n, "B");

/** A metric: enough figures to see it move, no more. 0.00123456 -> "0.00123", 31.4159 -> "31.4". */
export const figure = (n: number): string =>
  Number.isInteger(n)
    ? String(n)
    : Math.abs(n) >= 1e-3 && Math.abs(n) < 1e5
      ? String(Number(n.toPrecision(3)))
      : n.toExponential(2);

/** Columns padded to their widest cell, two spaces apart; columns named in `right` (from 0) are right-aligned. */
export function table(
  rows: readonly (readonly string[])[],
  { right = [] }: { right?: readonly number[] } = {},
): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
