/** What the kernel says of this process's main thread: how long it ran and how long it waited to. Linux only. */

import { node } from "../../formats/builtins.node.ts";

/** Milliseconds since the thread began. Neither of both is time asleep. */
export interface ThreadTimes {
  /** On a processor. */
  readonly busy: number;
  /** Ready, while others had the processors. */
  readonly waiting: number;
}

/** A reader of the thread's times; undefined where the kernel does not tell them. */
export function threadTimes(file = "/proc/self/schedstat"): (() => ThreadTimes) | undefined {
  const read = (): ThreadTimes => {
    // Otherwise the file is as old as the last tick, some milliseconds: this brings the account up to date.
    process.cpuUsage();
    const [busy, waiting] = node.fsSync.readFileSync(file, "latin1").split(" ");
    return { busy: Number(busy) / 1e6, waiting: Number(waiting) / 1e6 };
  };
  try {
    const { busy, waiting } = read();
    return busy > 0 && waiting >= 0 ? read : undefined;
  } catch {
    return undefined;
  }
}
