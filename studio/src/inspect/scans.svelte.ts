/** Files that were dropped on Inspect and what came of them; kept while the tab is open. Scans nothing itself. */

import type { FileReport } from "../../../src/guard/scan/index.ts";
import type { ScanAnswer, ScanAsk } from "./scan.worker.ts";
import type { TensorRow } from "./tensors.ts";

export interface Scanned {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly report?: FileReport;
  readonly tensors?: readonly TensorRow[];
  readonly failure?: string;
}

let files = $state.raw<readonly Scanned[]>([]);
let worker: Worker | undefined;
let next = 0;

function started(): Worker {
  if (worker) return worker;
  worker = new Worker(new URL("./scan.worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data: { id, ...found } }: MessageEvent<ScanAnswer>) => {
    files = files.map((file) => (file.id === id ? { ...file, ...found } : file));
  };
  return worker;
}

export const scans = {
  get files(): readonly Scanned[] {
    return files;
  },
  get busy(): boolean {
    return files.some(({ report, failure }) => !report && failure === undefined);
  },
  add(chosen: readonly File[]): void {
    for (const file of chosen) {
      const id = next++;
      files = [{ id, name: file.name, size: file.size }, ...files];
      started().postMessage({ id, file } satisfies ScanAsk);
    }
  },
  /** Forgets everything; what is being scanned is given up. */
  clear(): void {
    worker?.terminate();
    worker = undefined;
    files = [];
  },
};
