/** What a scan says: findings, and the verdict they add up to. Does not look at any file itself. */

/** How bad a finding is. `unreadable` means: could not be judged, and says nothing about intent. */
export type Severity = "malicious" | "suspicious" | "unreadable";

export type Verdict = Severity | "clean";

export interface Finding {
  /** Stable name of the rule, e.g. "pickle-name"; codes of SARIF and of suppressions. */
  readonly rule: string;
  readonly severity: Severity;
  /** Part of the file, e.g. "archive/data.pkl"; empty for the file itself. */
  readonly part: string;
  /** Byte offset inside that part (after unpacking, when it is packed). */
  readonly at: number;
  /** What would happen to somebody who opens the file. */
  readonly effect: string;
  /** Why we say so. */
  readonly why: string;
}

export interface FileReport {
  readonly file: string;
  readonly verdict: Verdict;
  /** What the content is, e.g. "torch zip"; outermost first when several readings exist. */
  readonly format: string;
  readonly bytes: number;
  readonly findings: readonly Finding[];
  /** Findings beyond the limit that are not listed. */
  readonly omitted: number;
}

/** From best to worst. */
export const VERDICTS: readonly Verdict[] = ["clean", "unreadable", "suspicious", "malicious"];

/** The worst of several verdicts; clean when there are none. */
export const worst = (verdicts: Iterable<Verdict>): Verdict => {
  let rank = 0;
  for (const verdict of verdicts) rank = Math.max(rank, VERDICTS.indexOf(verdict));
  return VERDICTS[rank]!;
};

/** Texts of a file shown to people: one line, no control characters, at most `max` characters. */
export function shown(text: string, max = 120): string {
  const plain = text
    .slice(0, max + 1)
    .replace(
      /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  return plain.length > max ? `${plain.slice(0, max - 1)}…` : plain;
}
