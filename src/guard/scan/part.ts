/** What every scanner is handed: bytes with a name and a place, and where to put findings. Knows no format. */

import { type ByteSource, memorySource } from "../../formats/index.ts";
import type { Finding, Severity } from "./report.ts";

/** Everything that bounds the work on one file. */
export interface ScanLimits {
  /** Parts inside each other: an archive in an archive in an archive. */
  readonly maxDepth: number;
  /** Parts in all. */
  readonly maxParts: number;
  /** Bytes that unpacking may make, over all parts. */
  readonly maxUnpacked: number;
  /** Bytes of one part that are held in memory. */
  readonly maxHeld: number;
  /** Pickle opcodes in all. */
  readonly maxOps: number;
  /** Findings that are kept. */
  readonly maxFindings: number;
}

export const LIMITS: ScanLimits = {
  maxDepth: 8,
  maxParts: 50_000,
  maxUnpacked: 256 * 2 ** 20,
  maxHeld: 64 * 2 ** 20,
  maxOps: 40_000_000,
  maxFindings: 100,
};

/** A finding while the scan goes on: its effect may become more exact. */
export type OpenFinding = { -readonly [K in keyof Finding]: Finding[K] };

/** The scan of one file: budgets and findings. */
export interface Scan {
  readonly limits: ScanLimits;
  /** Bytes of the file. */
  readonly size: number;
  readonly signal: AbortSignal | undefined;
  readonly findings: OpenFinding[];
  readonly formats: Set<string>;
  /** What has been noted already: two readings of the same bytes find the same. */
  readonly noted: Map<string, OpenFinding>;
  /** Scans a part inside another, whatever it is. Handed down, so that containers need not know all formats. */
  readonly scanPart: (part: Part) => Promise<void>;
  omitted: number;
  parts: number;
  unpacked: number;
  ops: number;
}

export const newScan = (
  scanPart: Scan["scanPart"],
  size: number,
  { limits = {}, signal }: { limits?: Partial<ScanLimits>; signal?: AbortSignal } = {},
): Scan => ({
  scanPart,
  size,
  limits: { ...LIMITS, ...limits },
  signal,
  findings: [],
  formats: new Set(),
  noted: new Map(),
  omitted: 0,
  parts: 0,
  unpacked: 0,
  ops: 0,
});

/** Bytes to be scanned. */
export interface Part {
  readonly scan: Scan;
  readonly source: ByteSource;
  /** Name of the file or member: a hint only, the content decides. */
  readonly name: string;
  /** Place inside the file: names of members joined with "!"; empty for the file itself. */
  readonly path: string;
  readonly depth: number;
}

/** Notes a finding; past the limit only a worse one than all before replaces the last. */
export function found(
  part: Part,
  rule: string,
  finding: { severity: Severity; at?: number; effect: string; why: string },
): OpenFinding {
  const { scan } = part;
  const { severity, at = 0, effect, why } = finding;
  const key = `${rule}\0${part.path}\0${at}\0${why}`;
  const before = scan.noted.get(key);
  if (before) return before;
  const open: OpenFinding = { rule, severity, part: part.path, at, effect, why };
  const { findings, limits } = scan;
  if (scan.noted.size < 4 * limits.maxFindings) scan.noted.set(key, open);
  if (findings.length < limits.maxFindings) findings.push(open);
  else {
    scan.omitted++;
    const mild = findings.findIndex((f) => RANK[f.severity] < RANK[severity]);
    if (mild >= 0) findings[mild] = open;
  }
  return open;
}

const RANK: Readonly<Record<Severity, number>> = { unreadable: 0, suspicious: 1, malicious: 2 };

/** Notes that a part could not be judged. */
export const unreadable = (part: Part, why: string, at = 0): OpenFinding =>
  found(part, "unreadable", {
    severity: "unreadable",
    at,
    effect: "cannot be judged",
    why,
  });

/** Notes that something packed was not opened: nobody looked inside, so nobody may take it for harmless. */
export const notOpened = (
  part: Part,
  rule: string,
  { at, why }: { at?: number; why: string },
): OpenFinding =>
  found(part, rule, {
    ...{ severity: "suspicious", at, why },
    effect: "was not opened: what it holds is unknown, and other programs may unpack it",
  });

/** A member of a part; undefined when the budgets do not allow one more. */
export function member(
  part: Part,
  name: string,
  source: ByteSource | Uint8Array,
): Part | undefined {
  const { scan, depth, path } = part;
  if (depth + 1 > scan.limits.maxDepth || ++scan.parts > scan.limits.maxParts) {
    found(part, "too-nested", {
      severity: "suspicious",
      effect: "hides content below more layers than are opened",
      why: `more than ${scan.limits.maxDepth} layers or ${scan.limits.maxParts} parts`,
    });
    return undefined;
  }
  return {
    scan,
    source: source instanceof Uint8Array ? memorySource(source) : source,
    name,
    path: path === "" ? name : `${path}!${name}`,
    depth: depth + 1,
  };
}

/** A range of a source as a source of its own. */
export function slice(source: ByteSource, offset: number, length: number): ByteSource {
  const from = Math.min(Math.max(0, offset), source.size);
  const size = Math.min(Math.max(0, length), source.size - from);
  return { size, read: (at, n) => source.read(from + at, n) };
}

/** Up to `length` bytes from `offset`; fewer at the end of the source. */
export async function peek(
  source: ByteSource,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const from = Math.min(Math.max(0, offset), source.size);
  const n = Math.min(length, source.size - from);
  return n <= 0 ? new Uint8Array(0) : source.read(from, n);
}

/** Lets a cancelled scan stop between two parts. */
export const checkpoint = ({ scan }: Part): void => scan.signal?.throwIfAborted();
