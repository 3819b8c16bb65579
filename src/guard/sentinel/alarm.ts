/** Alarms as plain data: what, since which update, with what evidence, what to do. Detects nothing itself. */

/** Numbers and texts that support an alarm. */
export type Evidence = Readonly<Record<string, number | string>>;

interface AlarmText {
  /** "high": the run is not what its recipe says. "low": something changed that may have an innocent cause. */
  readonly severity: "high" | "low";
  readonly what: string;
  readonly todo: string;
}

const RESTORE =
  "stop, go back to the last checkpoint that the ledger vouches for, and look at who touched the run";
const CODE = "stop, compare the installed files with a clean copy, and audit the steps named";

/** Every kind of alarm, in words. */
export const ALARMS = {
  "state-chain": {
    severity: "high",
    what: "weights or optimizer state changed between two updates",
    todo: RESTORE,
  },
  "saved-state": {
    severity: "high",
    what: "the state that was loaded is not the state that was saved",
    todo: RESTORE,
  },
  schedule: {
    severity: "high",
    what: "an update used another rate, decay or beta than its recipe declares",
    todo: CODE,
  },
  update: {
    severity: "high",
    what: "an update is not what AdamW makes of its state with the declared numbers",
    todo: CODE,
  },
  "gradient-norm": {
    severity: "high",
    what: "the gradient that was applied has not the norm that was reported for clipping",
    todo: CODE,
  },
  "gradient-along": {
    severity: "high",
    what: "the loss does not rise along the gradient as the gradient says",
    todo: CODE,
  },
  "gradient-across": {
    severity: "high",
    what: "the loss does not change in a random direction as the gradient says",
    todo: CODE,
  },
  batch: {
    severity: "high",
    what: "a batch is not the one that data, order and seed determine",
    todo: "stop, compare the data with its source, and go back to before the update named",
  },
  sources: {
    severity: "high",
    what: "files that this run executes changed since it started",
    todo: "stop; if the change was wanted, start again and record it, else restore the files",
  },
  statistics: {
    severity: "low",
    what: "loss, gradient norm or size of updates left its usual range",
    todo: "look at the curves and audit the steps named; a spike alone may be honest",
  },
  "step-time": {
    severity: "low",
    what: "updates take longer than they did",
    todo: "look for other work on the machine, throttling, and sleeps in the code",
  },
  stalls: {
    severity: "low",
    what: "single updates stall more often than they did",
    todo: "look for other work on the machine, and for sleeps in the code",
  },
  clock: {
    severity: "low",
    what: "the clock of the wall and the monotonic clock drifted apart",
    todo: "look for changes of the system's time; times in the ledger may be wrong",
  },
  gap: {
    severity: "low",
    what: "the run ended without saying why, or stood still",
    todo: "look for kills and crashes in the system's log",
  },
} as const satisfies Readonly<Record<string, AlarmText>>;

export type AlarmKind = keyof typeof ALARMS;

export interface Alarm extends AlarmText {
  readonly kind: AlarmKind;
  /** Update at which it was noticed. */
  readonly step: number;
  /** First update that may be affected. */
  readonly since: number;
  readonly evidence: Evidence;
}

/** An alarm of a kind, with its words. `since` is the step itself unless told. */
export const alarm = (
  kind: AlarmKind,
  step: number,
  { since = step, ...evidence }: Evidence & { since?: number },
): Alarm => ({ kind, step, since, ...ALARMS[kind], evidence });

/** One line for people: "update 41: ... (since update 40; tensor head.weight). Do: ..." */
export function describeAlarm({ step, since, what, evidence, todo }: Alarm): string {
  const shown = (x: number | string) =>
    typeof x === "number" && !Number.isInteger(x) ? Number(x.toPrecision(4)) : x;
  const facts = Object.entries(evidence).map(([name, x]) => `${name} ${shown(x)}`);
  const from = since === step ? [] : [`since update ${since}`];
  return `update ${step}: ${what} (${[...from, ...facts].join(", ")}); ${todo}`;
}
