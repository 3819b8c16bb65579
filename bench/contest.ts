/** Programs that take turns: children that answer every line they read. Knows no models. */

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface Step {
  readonly ms: number;
  readonly loss: number;
}

/** A child that answers every line with a line of JSON. */
export interface Contestant {
  /** What it said when it was ready. */
  readonly facts: Record<string, unknown>;
  /** Its answer to a question of your own, sent as a line of JSON. */
  ask<T>(question: object): Promise<T>;
  step(): Promise<Step>;
  /** Largest resident memory of the process so far, in bytes. */
  peak(): Promise<number>;
  stop(): void;
}

/** Starts a child; throws with its last words when it ends early. Its stderr is ours. */
export async function contestant(
  command: string,
  args: readonly string[],
  { env = process.env }: { env?: NodeJS.ProcessEnv } = {},
): Promise<Contestant> {
  const child: ChildProcess = spawn(command, args, { env, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const failed = new Promise<never>((_, reject) => child.once("error", reject));
  failed.catch(() => undefined);
  const answer = async () => {
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) throw new Error(`${command} ${args.join(" ")} ended early; its message is above`);
    return JSON.parse(value as string) as Record<string, unknown>;
  };
  const ask = (question: string) => {
    child.stdin!.write(`${question}\n`);
    return answer();
  };
  return {
    facts: await answer(),
    ask: async <T>(question: object) => (await ask(JSON.stringify(question))) as T,
    step: async () => (await ask("step")) as unknown as Step,
    peak: async () => (await ask("memory")).peak as number,
    stop: () => child.stdin!.end(),
  };
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}
export const spread = (values: readonly number[]): Spread => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
});
