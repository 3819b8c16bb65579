/** The scanner: tells what a part is by its content, runs every reading that fits, and adds up a verdict. */

import { type ByteSource, InputError, memorySource } from "./bytes.ts";
import { FORMATS } from "./formats.ts";
import { checkpoint, found, newScan, type Part, type ScanLimits, unreadable } from "./part.ts";
import { probePickle } from "./pickle.ts";
import { type FileReport, worst } from "./report.ts";
import { readHead } from "./sniff.ts";

/**
 * Scans one part: every format whose marks it bears, and a pickle at its first byte in any case. More than one
 * reading is itself a finding.
 */
export async function scanPart(part: Part): Promise<void> {
  checkpoint(part);
  const head = await readHead(part);
  const readings = FORMATS.filter((format) => format.bears(head));
  const kinds = new Set(readings.map(({ kind }) => kind));
  for (const { kind } of readings) if (part.depth === 0) part.scan.formats.add(kind);
  if (kinds.size > 1)
    found(part, "polyglot", {
      severity: "suspicious",
      effect: "is one thing to a checker and another to a loader",
      why: `the content is ${[...kinds].join(" as well as ")}`,
    });
  for (const { scan } of readings)
    try {
      await scan(part, head);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      unreadable(part, error.message);
    }
  if (!kinds.has("pickle")) await probePickle(part, head, kinds);
}

/**
 * Scans bytes or a source that is read by range; tensors are not read into memory.
 * @param name of the file: shown, and a hint where the content says nothing
 * @returns findings and the worst of them as the verdict; never throws for what the file holds
 */
export async function scanSource(
  from: ByteSource | Uint8Array,
  {
    name,
    limits = {},
    signal,
  }: { name: string; limits?: Partial<ScanLimits>; signal?: AbortSignal },
): Promise<FileReport> {
  const source = from instanceof Uint8Array ? memorySource(from) : from;
  const scan = newScan(scanPart, source.size, { limits, signal });
  await scanPart({ scan, source, name, path: "", depth: 0 });
  return {
    file: name,
    verdict: worst(scan.findings.map((f) => f.severity)),
    format: [...scan.formats].join(" + ") || "unknown",
    bytes: source.size,
    findings: scan.findings,
    omitted: scan.omitted,
  };
}
