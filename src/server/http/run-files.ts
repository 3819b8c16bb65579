/** The folder of training runs, read as it stands: names, configurations, metrics as they grow, sheets. Changes nothing. */

import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** One run as it stands now. */
export interface RunState {
  readonly name: string;
  readonly config: Record<string, unknown>;
  /** Of the last line of metrics. */
  readonly step: number;
  /** When metrics were last written, milliseconds since 1970. */
  readonly updated: number;
  /** The newest value of every figure. */
  readonly metrics: Record<string, number>;
  readonly sheets: readonly string[];
  /** Lines of the sentinel's alarms. */
  readonly alarms: number;
}

export interface RunsFolder {
  list(): Promise<RunState[]>;
  /** undefined where there is no such run. */
  read(name: string): Promise<RunState | undefined>;
  /** Lines of metrics from byte `from` on, whole lines only, and where the next begin. */
  lines(name: string, from: number): Promise<{ lines: string[]; next: number } | undefined>;
  /** The sentinel's alarms, a JSON text each. */
  alarms(name: string): Promise<string[] | undefined>;
  sheet(name: string, file: string): Promise<Uint8Array | undefined>;
}

const METRICS = "metrics.jsonl";
/** At most this much of the metrics is read at once. */
const CHUNK = 4 * 2 ** 20;
const TAIL = 2 ** 16;

/** @param folder holds one folder per run; it need not exist yet */
export function runsIn(folder: string): RunsFolder {
  // Names are looked up in listings, never joined to paths as they come.
  const names = async (path: string) => readdir(path).catch((): string[] => []);
  const known = async (name: string) => {
    if (!(await names(folder)).includes(name)) return undefined;
    const path = join(folder, name);
    return (await names(path)).includes("run.json") ? path : undefined;
  };
  const read = async (name: string): Promise<RunState | undefined> => {
    const path = await known(name);
    if (!path) return undefined;
    const config = object(await readFile(join(path, "run.json"), "utf8").catch(() => "{}"));
    const file = join(path, METRICS);
    const size = (await stat(file).catch(() => undefined))?.size ?? 0;
    const tail = await readPart(file, { from: Math.max(0, size - TAIL), most: TAIL });
    const rows = tail
      .split("\n")
      .slice(size > TAIL ? 1 : 0, -1)
      .map(object);
    const metrics: Record<string, number> = {};
    for (const row of rows)
      for (const [key, value] of Object.entries(row))
        if (typeof value === "number" && key !== "step") metrics[key] = value;
    const alarms = await readFile(join(path, "alarms.jsonl"), "utf8").catch(() => "");
    return {
      name,
      config,
      step: Number(rows.at(-1)?.step ?? 0),
      updated: Math.round((await stat(file).catch(() => undefined))?.mtimeMs ?? 0),
      metrics,
      sheets: (await names(join(path, "sheets"))).filter((f) => f.endsWith(".png")).sort(),
      alarms: alarms.split("\n").filter((line) => line !== "").length,
    };
  };
  return {
    read,
    async list() {
      const states = await Promise.all((await names(folder)).map(read));
      return states.filter((state) => state !== undefined);
    },
    async lines(name, from) {
      const path = await known(name);
      if (!path) return undefined;
      const text = await readPart(join(path, METRICS), { from, most: CHUNK });
      const end = text.lastIndexOf("\n") + 1;
      const whole = text.slice(0, end);
      const lines = whole.split("\n").filter((line) => line !== "");
      return { lines, next: from + Buffer.byteLength(whole) };
    },
    async alarms(name) {
      const path = await known(name);
      if (!path) return undefined;
      const text = await readFile(join(path, "alarms.jsonl"), "utf8").catch(() => "");
      return text.split("\n").filter((line) => line !== "");
    },
    async sheet(name, file) {
      const path = await known(name);
      if (!path || !(await names(join(path, "sheets"))).includes(file)) return undefined;
      return readFile(join(path, "sheets", file));
    },
  };
}

function object(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // a line that is being written
  }
}

async function readPart(
  file: string,
  { from, most }: { from: number; most: number },
): Promise<string> {
  const handle = await open(file).catch(() => undefined);
  if (!handle) return "";
  try {
    const buffer = Buffer.alloc(Math.max(0, Math.min(most, (await handle.stat()).size - from)));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await handle.close();
  }
}
