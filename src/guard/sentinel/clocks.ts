/** Two clocks and the gaps between updates: what was missed when a process was stopped, slept or its time was set. */

export interface ClockOptions {
  /** Milliseconds by a clock that never goes back: performance.now. */
  readonly monotonic: () => number;
  /** Milliseconds since 1970: Date.now. */
  readonly wall: () => number;
  /** Milliseconds that the clocks may drift apart within one update. */
  readonly drift?: number;
  /** A pause between updates is a gap above so many times the usual one, and above `least` milliseconds. */
  readonly times?: number;
  readonly least?: number;
}

export interface ClockReport {
  /** Milliseconds that the wall clock went more than the monotonic one, where that is too much. */
  readonly drift?: number;
  /** Milliseconds between the end of one update and the start of the next, where that is too much. */
  readonly gap?: number;
}

/**
 * Compares the clocks and looks at pauses. A gap while the loop saves or draws is honest: call `pause` around what may
 * take long.
 */
export function createClocks(options: ClockOptions) {
  const { monotonic, wall, drift: most = 1_000, times = 50, least = 10_000 } = options;
  let [mono, real] = [monotonic(), wall()];
  let ended: number | undefined;
  const gaps: number[] = [];
  return {
    /** An update begins. */
    begin(): ClockReport {
      const [now, day] = [monotonic(), wall()];
      const drift = day - real - (now - mono);
      [mono, real] = [now, day];
      const gap = ended === undefined ? 0 : now - ended;
      const usual = gaps.length ? gaps.reduce((a, b) => a + b) / gaps.length : 0;
      const long = gap > Math.max(least, times * usual);
      if (ended !== undefined && !long) gaps.push(gap);
      if (gaps.length > 64) gaps.shift();
      return { ...(Math.abs(drift) > most && { drift }), ...(long && { gap }) };
    },
    /** An update ended. */
    end(): void {
      ended = monotonic();
    },
    /** The loop does something else now, which may take long. */
    pause(): void {
      ended = undefined;
    },
  };
}
