/** A watcher that tells an MLflow server of a run over its REST API. What goes wrong there never stops training. */

import { node } from "../formats/builtins.node.ts";
import type { Metrics } from "./run.node.ts";
import { waitingList } from "./waiting.ts";
import type { Watcher } from "./watch.ts";

/** Limits of one log-batch request, by MLflow's documentation. */
const LIMIT = { metrics: 1000, params: 100, value: 500 } as const;
/** Kept while a server does not answer; beyond that the oldest go. */
const MOST = { numbers: 100_000, files: 64 } as const;
/** Milliseconds that a server which did not answer is left alone. */
const REST = 30_000;
/** Milliseconds between tries of one request. */
const PAUSES = [250, 1000, 4000] as const;
/** Milliseconds until an answer is given up on, and in all at the end of a run. */
const [ANSWER, FAREWELL] = [10_000, 15_000];
/** Milliseconds between batches. */
const EVERY = 2000;
/** In the run's folder: which run it is over there. */
const PLACE = "mlflow.json";

export interface MlflowOptions {
  /** Where the server is: http://host:port */
  readonly url: string;
  readonly experiment: string;
  /** Name of the run in its list. */
  readonly name: string;
  /** The recipe: plain JSON; nested keys are joined by dots. */
  readonly params: object;
  /** For servers that want one: the Authorization header. */
  readonly authorization?: string;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  /** Told once that the server cannot be reached, once that too much waits, and at the end what did not arrive. */
  readonly say: (line: string) => void;
  /** Pauses between tries; for tests. */
  readonly pauses?: readonly number[];
  /** Numbers that may wait; for tests. */
  readonly mostWaiting?: number;
}

interface Metric {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
  readonly step: number;
}

/**
 * Numbers in batches, the recipe as parameters, sheets and the model as artifacts where the server takes them. One
 * request at a time; what a server that is away did not take waits, up to a bound, and is sent when it answers again.
 */
export function mlflow(options: MlflowOptions): Watcher {
  const { clock, say, mostWaiting = MOST.numbers } = options;
  const ask = client(options);
  const isLost = (error: unknown): boolean => error instanceof Refused;
  const numbers = waitingList<Metric>(mostWaiting, { isLost });
  const files = waitingList<{ folder: string; file: string }>(MOST.files, { isLost });
  let place = "";
  let started: Started | undefined;
  let [introduced, refused, toldFailure, toldDrop] = [false, false, false, false];
  let [last, restUntil] = [0, 0];
  let working: Promise<void> | undefined;

  /** The run over there, with its recipe; an earlier one of this folder goes on. */
  const introduce = async (): Promise<Started> => {
    const found = started ? undefined : await earlier(place, options);
    const own = started ?? found ?? (await create(ask, options));
    started = own;
    if (found) await ask("POST", "runs/update", { run_id: own.runId, status: "RUNNING" });
    else {
      const all = paramsOf(options.params);
      for (let at = 0; at < all.length; at += LIMIT.params)
        await ask("POST", "runs/log-batch", {
          run_id: own.runId,
          params: all.slice(at, at + LIMIT.params),
        });
      await node.fs.writeFile(place, `${JSON.stringify(own)}\n`);
    }
    introduced = true;
    return own;
  };
  const deliver = async (): Promise<void> => {
    const { runId, artifacts } = introduced && started ? started : await introduce();
    await numbers.drain(LIMIT.metrics, (metrics) =>
      ask("POST", "runs/log-batch", { run_id: runId, metrics }),
    );
    await files.drain(1, async ([one]) => {
      if (!artifacts) return;
      const name = [one!.folder, node.path.basename(one!.file)].filter(Boolean).join("/");
      await ask("PUT", `${artifacts}/${name}`, new Uint8Array(await node.fs.readFile(one!.file)));
    });
  };
  const send = (job: () => Promise<void> = deliver): Promise<void> => {
    last = clock();
    working ??= job()
      .catch((error: unknown) => {
        refused ||= !introduced && error instanceof Refused;
        const after = refused ? "without it" : "and its numbers wait";
        if (!toldFailure) say(`MLflow: ${(error as Error).message}; training goes on ${after}`);
        toldFailure = true;
        restUntil = clock() + REST;
      })
      .finally(() => {
        working = undefined;
      });
    return working;
  };
  const due = (): void => {
    if (refused) {
      numbers.drop();
      files.drop();
    }
    if (numbers.dropped() > 0 && !refused && !toldDrop) {
      toldDrop = true;
      say(
        `MLflow: ${mostWaiting} numbers wait for the server; older ones are dropped there, not in metrics.jsonl`,
      );
    }
    const many = clock() - last >= EVERY || numbers.waiting() >= LIMIT.metrics;
    if (many && !refused && clock() >= restUntil) void send();
  };
  const add = (step: number, metrics: Metrics): void => {
    const timestamp = Math.round(clock());
    for (const [key, value] of Object.entries(metrics))
      if (Number.isFinite(value)) numbers.add({ key, value, timestamp, step });
    due();
  };
  let status: "FINISHED" | "FAILED" | "KILLED" = "KILLED";

  return {
    name: "mlflow",
    start({ run }) {
      place = node.path.join(run.folder, PLACE);
      void send();
    },
    afterStep: ({ step, metrics }) => add(step, metrics),
    evaluation: ({ step, metrics }) => add(step, metrics),
    sheet({ file }) {
      files.add({ folder: "sheets", file });
      due();
    },
    finish({ file }) {
      status = "FINISHED";
      files.add({ folder: "", file });
    },
    error() {
      status = "FAILED";
    },
    async close() {
      const farewell = async () => {
        await working;
        if (!refused)
          await send(async () => {
            await deliver();
            const end_time = Math.round(clock());
            await ask("POST", "runs/update", { run_id: started!.runId, status, end_time });
          });
      };
      const { promise, cancel } = pause(FAREWELL);
      await Promise.race([farewell(), promise]);
      cancel();
      const [lost, unsent] = [numbers, files].map((list) => list.waiting() + list.dropped());
      if (lost! + unsent! > 0)
        say(
          `MLflow: ${lost} numbers${unsent ? ` and ${unsent} files` : ""} did not arrive; they are in metrics.jsonl${unsent ? " and the run's folder" : ""}`,
        );
    },
  };
}

function pause(ms: number): { promise: Promise<void>; cancel: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { promise, cancel: () => clearTimeout(timer) };
}

/** Body of a failed answer that is shown. */
const SHOWN = 200;

/** Requests with a few tries: a busy or absent server is asked again, one that refuses is not. */
function client({ url, authorization, pauses = PAUSES }: MlflowOptions) {
  const base = url.replace(/\/+$/, "");
  return async (method: string, path: string, body?: object): Promise<Record<string, unknown>> => {
    const isFile = body instanceof Uint8Array;
    const root = path.startsWith("mlflow-artifacts/") ? "api/2.0" : "api/2.0/mlflow";
    for (let attempt = 0; ; attempt++) {
      const again = attempt < pauses.length;
      try {
        const answer = await fetch(`${base}/${root}/${path}`, {
          method,
          headers: {
            "content-type": isFile ? "application/octet-stream" : "application/json",
            ...(authorization && { authorization }),
          },
          body: isFile ? (body as Uint8Array<ArrayBuffer>) : body && JSON.stringify(body),
          signal: AbortSignal.timeout(ANSWER),
        });
        const text = await answer.text();
        if (answer.ok) return text ? (JSON.parse(text) as Record<string, unknown>) : {};
        const why = `${method} ${path} was answered ${answer.status}: ${text.slice(0, SHOWN)}`;
        if (answer.status < 500 && answer.status !== 429) throw new Refused(why, answer.status);
        if (!again) throw new Error(why);
      } catch (error) {
        if (error instanceof Refused || !again) throw error;
      }
      await pause(pauses[attempt]!).promise;
    }
  };
}

type Ask = ReturnType<typeof client>;

/** An answer that asking again will not change. */
class Refused extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

interface Started {
  readonly url: string;
  readonly experiment: string;
  readonly runId: string;
  /** Path below /api/2.0 where files are put; absent where the server does not take them. */
  readonly artifacts?: string;
}

/** The run that this folder had over there, if it was the same server and experiment. */
async function earlier(place: string, { url, experiment }: MlflowOptions) {
  try {
    const found = JSON.parse(await node.fs.readFile(place, "utf8")) as Started;
    if (found.url === url && found.experiment === experiment && typeof found.runId === "string")
      return found;
  } catch {
    // None yet, or nothing that can be read: a new one is made.
  }
  return undefined;
}

async function create(ask: Ask, { url, experiment, name, clock }: MlflowOptions): Promise<Started> {
  const { run } = (await ask("POST", "runs/create", {
    experiment_id: await experimentId(ask, experiment),
    run_name: name,
    start_time: Math.round(clock()),
    tags: [{ key: "mlflow.source.name", value: "underpaint" }],
  })) as { run: { info: { run_id: string; artifact_uri?: string } } };
  const { run_id: runId, artifact_uri: uri = "" } = run.info;
  // "mlflow-artifacts:/0/abc/artifacts" is taken over HTTP; a path or a bucket is the server's own affair.
  const proxied = /^mlflow-artifacts:(?:\/\/[^/]*)?\/(.+)$/.exec(uri)?.[1];
  const artifacts = proxied && `mlflow-artifacts/artifacts/${proxied}`;
  return { url, experiment, runId, ...(artifacts && { artifacts }) };
}

async function experimentId(ask: Ask, name: string): Promise<string> {
  const find = async () => {
    const found = await ask(
      "GET",
      `experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`,
    );
    return (found as { experiment: { experiment_id: string } }).experiment.experiment_id;
  };
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof Refused && error.status === 404)) throw error;
  }
  try {
    return (await ask("POST", "experiments/create", { name })).experiment_id as string;
  } catch (error) {
    // Another process was faster.
    if (error instanceof Refused && error.message.includes("RESOURCE_ALREADY_EXISTS"))
      return find();
    throw error;
  }
}

/** A recipe as MLflow's parameters: names joined by dots, values as text. */
function paramsOf(value: unknown, name = ""): { key: string; value: string }[] {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return Object.entries(value).flatMap(([key, inner]) =>
      paramsOf(inner, name ? `${name}.${key}` : key),
    );
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return value === undefined ? [] : [{ key: name, value: text.slice(0, LIMIT.value) }];
}
