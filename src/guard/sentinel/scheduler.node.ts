/** What the kernel says of this process: how long its main thread ran, and how long its threads waited to. Linux only. */

import { node } from "../../formats/builtins.node.ts";

/** Milliseconds since the threads began. */
export interface ThreadTimes {
  /** The main thread was on a processor. */
  readonly busy: number;
  /** The main thread was ready, while others had the processors. */
  readonly waiting: number;
  /** The same of all other threads, added up: the main thread may have slept until they were done. */
  readonly helpers: number;
}

/** A reader of these times; undefined where the kernel does not tell them. @param folder one process of /proc */
export function threadTimes(folder = "/proc/self"): (() => ThreadTimes) | undefined {
  const fs = node.fsSync;
  const times = (path: string): [busy: number, waiting: number] => {
    const [busy, waiting] = fs.readFileSync(path, "latin1").split(" ");
    return [Number(busy) / 1e6, Number(waiting) / 1e6];
  };
  const read = (): ThreadTimes => {
    // Otherwise the file is as old as the last tick, some milliseconds: this brings the account up to date.
    process.cpuUsage();
    const [busy, waiting] = times(`${folder}/schedstat`);
    let all = 0;
    for (const thread of fs.readdirSync(`${folder}/task`))
      try {
        all += times(`${folder}/task/${thread}/schedstat`)[1];
      } catch {
        // It ended just now.
      }
    return { busy, waiting, helpers: all - waiting };
  };
  try {
    const { busy, waiting } = read();
    return busy > 0 && waiting >= 0 ? read : undefined;
  } catch {
    return undefined;
  }
}
