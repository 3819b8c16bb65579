/** Prints the counts of a test run as one plain line, the last one. vitest's own reporter says what failed and why. */

import { writeFileSync } from "node:fs";
import type { Reporter, TestModule } from "vitest/node";

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** `3 passed, 0 failed`, and `, 1 skipped` where there are such. */
export const countsLine = ({ passed, failed, skipped }: Counts): string =>
  `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;

/** A file that does not load counts as one failure, and so does every error outside of tests. */
function count(modules: readonly TestModule[], errors: readonly unknown[]): Counts {
  const counts: Counts = { passed: 0, failed: errors.length, skipped: 0 };
  for (const module of modules) {
    counts.failed += module.errors().length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      counts[state === "pending" ? "failed" : state] += 1; // pending at the end: its worker died
    }
  }
  return counts;
}

/** @param process.env.TEST_COUNTS a file that gets the line as well, for scripts that add counts up */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const line = countsLine(count(modules, errors));
    if (process.env.TEST_COUNTS) writeFileSync(process.env.TEST_COUNTS, `${line}\n`);
    // When the process ends, after everything else has been printed.
    process.once("exit", () => process.stdout.write(`${line}\n`));
  }
}
