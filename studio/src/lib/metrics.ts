/** Lines of a run's metrics as curves and heat maps. Fetches nothing. */

export type Line = Readonly<Record<string, number>>;
export type Points = readonly (readonly [step: number, value: number])[];

/** A curve of at most `most` points: means of neighbours. */
export function curve(lines: readonly Line[], key: string, most = 240): Points {
  const own = lines.filter((line) => Number.isFinite(line[key]));
  const width = Math.max(1, Math.ceil(own.length / most));
  return Array.from({ length: Math.ceil(own.length / width) }, (_, i) => {
    const part = own.slice(i * width, (i + 1) * width);
    return [part.at(-1)!.step!, part.reduce((sum, line) => sum + line[key]!, 0) / part.length];
  });
}

/** `usage/4x4` of every scale, coarse to fine. */
export function usage(lines: readonly Line[], columns = 60): { name: string; values: number[] }[] {
  const names = Object.keys(lines.at(-1) ?? {}).filter((key) => /^usage\/\d+x\d+$/.test(key));
  return names
    .sort((a, b) => tokensOf(a) - tokensOf(b))
    .map((key) => ({ name: key.slice(6), values: curve(lines, key, columns).map(([, v]) => v) }));
}

/** Tokens of the map in `usage/6x4`. */
const tokensOf = (key: string): number =>
  key
    .slice(6)
    .split("x")
    .reduce((product, side) => product * Number(side), 1);

/** Seconds to the end, by the median of the last hundred updates; undefined where nothing tells. */
export function secondsLeft(lines: readonly Line[], steps: unknown): number | undefined {
  const times = lines
    .slice(-100)
    .map(({ ms }) => ms)
    .filter((ms) => ms !== undefined)
    .sort((a, b) => a - b);
  const at = lines.at(-1)?.step;
  if (typeof steps !== "number" || at === undefined || times.length === 0) return undefined;
  return (Math.max(0, steps - at) * times[times.length >> 1]!) / 1000;
}
