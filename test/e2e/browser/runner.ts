/** vitest's describe, test and expect as a page has them: collects tests, runs them in order. No mocks, no files. */

import { chai, JestAsymmetricMatchers, JestChaiExpect, JestExtend } from "@vitest/expect";

// The very assertions of vitest: a suite that passes here passes by the same rules.
chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
export const expect = chai.expect;

type Body = () => unknown;

export interface Outcome {
  readonly name: string;
  readonly state: "passed" | "failed" | "skipped";
  readonly error?: string;
}

const tests: { readonly name: string; readonly body?: Body }[] = [];
const before: Body[] = [];

export const describe = (_name: string, body: Body): unknown => body();
export const beforeAll = (body: Body): void => {
  before.push(body);
};
export const test = Object.assign(
  (name: string, body: Body): void => {
    tests.push({ name, body });
  },
  {
    skip: (name: string): void => {
      tests.push({ name });
    },
  },
);

/** Runs what was collected. Throws where the preparations do. */
export async function runTests(): Promise<Outcome[]> {
  for (const body of before) await body();
  const outcomes: Outcome[] = [];
  for (const { name, body } of tests) {
    try {
      await body?.();
      outcomes.push({ name, state: body ? "passed" : "skipped" });
    } catch (error) {
      outcomes.push({ name, state: "failed", error: String(error) });
    }
  }
  return outcomes;
}
