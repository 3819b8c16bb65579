/** What a run's page is made of, as plain data. Reads nothing and draws nothing. */

import type { MetricLine } from "../metrics.ts";
import type { Recipe } from "../trained.node.ts";

/** An alarm as its line or its entry says. */
export interface ReportAlarm {
  readonly kind: string;
  readonly step: number;
  readonly since?: number;
  readonly severity?: string;
  readonly what?: string;
  readonly todo?: string;
  readonly evidence: Readonly<Record<string, unknown>>;
  /** Where it stands: one that was told in both places is there once. */
  readonly from: "folder" | "ledger" | "both";
}

/** Something that a ledger tells, besides updates and alarms. */
export interface ReportEvent {
  readonly kind: "start" | "resume" | "checkpoint" | "audit" | "end" | "event";
  readonly step: number;
  /** Milliseconds since 1970, by the run's clock. */
  readonly time?: number;
  /** One line for people. */
  readonly text: string;
  /** An audit that found a difference, a run that broke. */
  readonly bad?: boolean;
}

export interface ReportLedger {
  readonly entries: number;
  /** Base64, of the last signed head. */
  readonly root: string;
  readonly origin: string;
  /** Its own verifier key, in one line. */
  readonly key: string;
  readonly events: readonly ReportEvent[];
  /** Why it could not be read to its end. */
  readonly problem?: string;
}

export interface ReportSheet {
  readonly step: number;
  /** PNG. */
  readonly png: Uint8Array;
}

/** A run's folder, as far as a page shows it. */
export interface RunContents {
  readonly name: string;
  readonly recipe: Recipe;
  readonly metrics: readonly MetricLine[];
  readonly alarms: readonly ReportAlarm[];
  /** Some of its sample sheets, by update. */
  readonly sheets: readonly ReportSheet[];
  /** Sheets that there are. */
  readonly sheetCount: number;
  readonly ledger?: ReportLedger;
}
