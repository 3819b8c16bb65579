/** Where the time of a command goes: a stopwatch per part, and a backend that keeps it. Times nothing inside a graph. */

import type { Backend } from "../tensor/backend.ts";
import { duration, table } from "./format.ts";

/** Milliseconds and calls by part, in the order parts first came. */
export class Stopwatch {
  readonly #parts = new Map<string, { ms: number; calls: number }>();

  add(part: string, ms: number): void {
    const entry = this.#parts.get(part) ?? { ms: 0, calls: 0 };
    this.#parts.set(part, { ms: entry.ms + ms, calls: entry.calls + 1 });
  }

  /** Runs `work` and adds its time to `part`. */
  async time<T>(part: string, work: () => Promise<T> | T): Promise<T> {
    const begin = performance.now();
    try {
      return await work();
    } finally {
      this.add(part, performance.now() - begin);
    }
  }

  /** Milliseconds of the parts whose names begin so. */
  total(prefix = ""): number {
    return [...this.#parts]
      .filter(([part]) => part.startsWith(prefix))
      .reduce((sum, [, { ms }]) => sum + ms, 0);
  }

  rows(): { part: string; ms: number; calls: number }[] {
    return [...this.#parts].map(([part, entry]) => ({ part, ...entry }));
  }
}

/**
 * A backend whose compiling and runs are timed by the name of their graph. Runs of the transformer, whose input x is
 * R T C, are told apart by T: one row per scale.
 */
export function timedBackend(backend: Backend, watch: Stopwatch): Backend {
  return {
    name: backend.name,
    async compile(graph, options) {
      const session = await watch.time(`compile ${graph.name}`, () =>
        backend.compile(graph, options),
      );
      return {
        ...session,
        inputs: session.inputs,
        outputs: session.outputs,
        release: () => session.release(),
        run(feeds, runOptions) {
          const tokens = graph.name === "scale" ? feeds.x?.shape[1] : undefined;
          const side = tokens === undefined ? undefined : Math.sqrt(tokens);
          const part = side === undefined ? `run ${graph.name}` : `run transformer ${side}x${side}`;
          return watch.time(part, () => session.run(feeds, runOptions));
        },
      };
    },
  };
}

/** The stopwatch as a table: part, time, share of `whole` milliseconds, calls. What no part covers stands last. */
export function profileTable(watch: Stopwatch, whole: number): string {
  const rest = { part: "other", ms: Math.max(0, whole - watch.total()), calls: 1 };
  const rows = [...watch.rows(), rest].map(({ part, ms, calls }) => [
    part,
    duration(ms),
    `${((100 * ms) / whole).toFixed(1)} %`,
    String(calls),
  ]);
  return table(
    [["part", "time", "share", "calls"], ...rows, ["all", duration(whole), "100.0 %", ""]],
    {
      right: [1, 2, 3],
    },
  );
}
