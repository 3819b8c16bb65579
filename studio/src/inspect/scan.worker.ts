/** Scans files one after the other, away from the page's own thread. Nothing leaves it but what it found. Entry of a worker. */

import { blobSource } from "../../../src/formats/bytes.ts";
import { type FileReport, scanSource } from "../../../src/guard/scan/index.ts";
import { listTensors, type TensorRow } from "./tensors.ts";

export interface ScanAsk {
  readonly id: number;
  readonly file: File;
}
export type ScanAnswer =
  | { readonly id: number; readonly report: FileReport; readonly tensors: readonly TensorRow[] }
  | { readonly id: number; readonly failure: string };

let last: Promise<void> = Promise.resolve();

addEventListener("message", ({ data }: MessageEvent<ScanAsk>) => {
  last = last.then(() => scan(data));
});

async function scan({ id, file }: ScanAsk): Promise<void> {
  const say = (answer: ScanAnswer): void => postMessage(answer);
  try {
    const report = await scanSource(blobSource(file), { name: file.name });
    say({ id, report, tensors: await listTensors(file, report.format) });
  } catch (error) {
    say({ id, failure: error instanceof Error ? error.message : String(error) });
  }
}
