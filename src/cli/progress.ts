/** A progress bar with the time left, for work longer than a second. Quiet for shorter work. */

import { duration } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Work shorter than this shows no bar. */
const PATIENCE = 1000;
/** Between redraws on a terminal, and between lines elsewhere (a log wants few). */
const REDRAW = 100;
const LINE = 15_000;
/** Weight of the past in the pace: of the time as of the units, so that a burst after a pause counts as both. */
const MEMORY = 0.9;
const WIDTH = 24;

export interface Progress {
  /** `done` units of `of`; `note` stands behind the bar. */
  update(done: number, note?: string): void;
  /** Removes the bar. Anything printed while a bar stands goes through here. */
  clear(): void;
}

export interface ProgressOptions {
  /** Units of the whole work. */
  of: number;
  /** Units done before this process: they say nothing about the pace. */
  from?: number;
  /** What is being done, before the bar. */
  what: string;
  /** How a number of units is written; default as it is. */
  shown?: (units: number) => string;
  /** Milliseconds; for tests. */
  now?: () => number;
}

/** `[#####---]` of the given width. */
export function bar(share: number, width = WIDTH): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `[${"#".repeat(full)}${"-".repeat(width - full)}]`;
}

/** A bar on `terminal`; lines now and then where it is no terminal. */
export function progress(
  terminal: Terminal,
  { of, from = 0, what, shown = String, now = () => performance.now() }: ProgressOptions,
): Progress {
  const begin = now();
  let [lastTime, lastDone, lastShown] = [begin, from, terminal.live ? 0 : begin - LINE + PATIENCE];
  let [time, units] = [0, 0]; // both fading: their ratio is the pace
  let hasBegun = false; // the first units come with all that is opened and compiled for them
  let standing = false;
  const clear = () => {
    if (standing) terminal.draw("\r\x1b[K");
    standing = false;
  };
  return {
    clear,
    update(done, note = "") {
      const moment = now();
      if (done > lastDone) {
        if (hasBegun) {
          time = time * MEMORY + moment - lastTime;
          units = units * MEMORY + done - lastDone;
        }
        [lastTime, lastDone, hasBegun] = [moment, done, true];
      }
      const due = moment - lastShown >= (terminal.live ? REDRAW : LINE);
      if (!due || moment - begin < PATIENCE || done >= of) {
        if (done >= of) clear();
        return;
      }
      lastShown = moment;
      const left = units === 0 ? "" : `, ${duration((time / units) * (of - done))} left`;
      const line = `${what} ${bar(done / of)} ${shown(done)}/${shown(of)}${left}${note && `  ${note}`}`;
      if (!terminal.live) return terminal.say(line);
      terminal.draw(`\r${line.slice(0, terminal.columns - 1)}\x1b[K`);
      standing = true;
    },
  };
}
