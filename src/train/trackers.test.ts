/** TensorBoard's files and an MLflow-shaped server, fed by a run that trains nothing. */

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type Task, trainLoop } from "./loop.ts";
import { mlflow } from "./mlflow.node.ts";
import { openRun } from "./run.node.ts";
import { tensorboard } from "./tensorboard.node.ts";
import type { Watcher } from "./watch.ts";

const folders: string[] = [];
const servers: Server[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
  for (const server of servers.splice(0)) server.close();
});
const newFolder = async () => {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-track-"));
  folders.push(folder);
  return folder;
};

/** A run whose loss is 1 / step. */
const task = (): Task => ({
  pace: (step) => ({ step, lr: 0.5, weightDecay: 0 }),
  step: async ({ step }) => ({
    metrics: { loss: 1 / step, "usage/4x4": 0.5, odd: Number.NaN },
    batch: { epoch: 0, indices: [0], feeds: [{}] },
    ...{ phases: {}, applied: {} },
  }),
  evaluate: async () => ({ testLoss: 2 }),
  draw: async () => ({ width: 3, height: 2, channels: 3 as const, data: new Uint8Array(18) }),
  tensors: () => new Map(),
  before: () => new Map(),
  position: () => ({}),
  finish: (run) => run.write("model.safetensors", new Map(), {}),
  release: async () => {},
});

async function train(folder: string, steps: number, watchers: readonly Watcher[]) {
  const { run, checkpoint } = await openRun(folder, { steps }, { mayChange: ["steps"] });
  const every = { saveEvery: 2, evaluateEvery: 2, drawEvery: 4 };
  const options = { steps, done: checkpoint?.step, watchers, ...every };
  for await (const _ of trainLoop(task(), run, options));
}

// ---- TensorBoard

/** Fields of a message: number and content, by the wire format alone. */
function fields(bytes: Uint8Array): [number, number | Uint8Array][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const out: [number, number | Uint8Array][] = [];
  let at = 0;
  const varint = () => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = bytes[at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const [no, wire] = [tag >>> 3, tag & 7];
    if (wire === 0) out.push([no, varint()]);
    else if (wire === 1 || wire === 5) {
      out.push([no, wire === 1 ? view.getFloat64(at, true) : view.getFloat32(at, true)]);
      at += wire === 1 ? 8 : 4;
    } else {
      const length = varint();
      out.push([no, new Uint8Array(bytes.subarray(at, at + length))]);
      at += length;
    }
  }
  return out;
}
const one = (message: Uint8Array, no: number) => fields(message).find(([n]) => n === no)?.[1];

function events(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const out: Uint8Array[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(view.getBigUint64(at, true));
    out.push(file.subarray(at + 12, at + 12 + length));
    at += 16 + length;
  }
  return out;
}

test("TensorBoard gets every number and sheet, and hears that a run goes on", async () => {
  const [folder, board] = [await newFolder(), await newFolder()];
  let now = 1_700_000_000_000;
  const watcher = () => tensorboard(board, { clock: () => (now += 1000) });
  await train(folder, 4, [watcher()]);
  await train(folder, 6, [watcher()]);
  const names = (await readdir(board)).sort();
  expect(names).toHaveLength(2);
  for (const name of names) expect(name).toMatch(/^events\.out\.tfevents\.17000000\d\d\./);
  const [first, second] = await Promise.all(names.map((name) => readFile(join(board, name))));
  const read = (file: Uint8Array) =>
    events(file).flatMap((event) => {
      const [step, summary] = [one(event, 2), one(event, 5)];
      if (!summary) return [];
      return fields(summary as Uint8Array).map(([, value]) => {
        const message = value as Uint8Array;
        const tag = Buffer.from(one(message, 1) as Uint8Array).toString();
        return { step, tag, value: one(message, 2), image: one(message, 4) };
      });
    });
  expect(Buffer.from(one(events(first!)[0]!, 3) as Uint8Array).toString()).toBe("brain.Event:2");
  const losses = read(first!).filter(({ tag }) => tag === "loss");
  expect(losses.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
  expect(losses.map(({ value }) => value)).toEqual([1, 0.5, Math.fround(1 / 3), 0.25]);
  expect(read(first!).some(({ tag }) => tag === "odd")).toBe(false);
  expect(read(first!).filter(({ tag }) => tag === "testLoss")).toHaveLength(2);
  const picture = read(first!).find(({ tag }) => tag === "sheet")!;
  expect(picture.step).toBe(4);
  const image = picture.image as Uint8Array;
  expect([one(image, 1), one(image, 2), one(image, 3)]).toEqual([2, 3, 3]);
  expect((one(image, 4) as Uint8Array).subarray(1, 4)).toEqual(new TextEncoder().encode("PNG"));
  const going = events(second!)[1]!;
  expect([one(going, 2), one(one(going, 7) as Uint8Array, 1)]).toEqual([5, 1]);
});

// ---- MLflow

interface Heard {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown>;
  readonly bytes: number;
}

/** Answers as MLflow's REST API documents it; `refuse` says what is answered instead. */
async function server(
  refuse: (heard: Heard, count: number) => number | undefined = () => undefined,
) {
  const heard: Heard[] = [];
  const made = { experiment: "", runs: 0 };
  const read = async (request: IncomingMessage) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    return Buffer.concat(parts);
  };
  const rules: Record<string, (body: Record<string, unknown>, url: URL) => object | number> = {
    "GET /api/2.0/mlflow/experiments/get-by-name": (_, url) =>
      made.experiment === url.searchParams.get("experiment_name")
        ? { experiment: { experiment_id: "7", name: made.experiment } }
        : 404,
    "POST /api/2.0/mlflow/experiments/create": ({ name }) => {
      made.experiment = String(name);
      return { experiment_id: "7" };
    },
    "POST /api/2.0/mlflow/runs/create": ({ experiment_id }) => ({
      run: {
        info: {
          run_id: `r${++made.runs}`,
          experiment_id,
          artifact_uri: `mlflow-artifacts:/7/r${made.runs}/artifacts`,
        },
      },
    }),
    "POST /api/2.0/mlflow/runs/log-batch": ({ metrics = [], params = [] }) =>
      (metrics as []).length > 1000 || (params as []).length > 100 ? 400 : {},
    "POST /api/2.0/mlflow/runs/update": () => ({}),
  };
  const listening = createServer(async (request, response) => {
    const url = new URL(request.url!, "http://here");
    const bytes = await read(request);
    const isFile = request.headers["content-type"] === "application/octet-stream";
    const body = bytes.length && !isFile ? JSON.parse(bytes.toString()) : {};
    const entry = { method: request.method!, path: url.pathname, body, bytes: bytes.length };
    heard.push(entry);
    const isPut = entry.method === "PUT" && /^\/api\/2\.0\/mlflow-artifacts\//.test(entry.path);
    const rule = rules[`${entry.method} ${entry.path}`] ?? (() => (isPut ? {} : 404));
    const answer = refuse(entry, heard.length) ?? rule(body, url);
    const status = typeof answer === "number" ? answer : 200;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(status === 200 ? answer : { error_code: `CODE_${status}` }));
  });
  servers.push(listening);
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  return { heard, url: `http://127.0.0.1:${(listening.address() as AddressInfo).port}` };
}

const tracker = (url: string, said: string[]) =>
  mlflow({
    ...{ url, experiment: "discs", name: "first", params: { lr: 0.5, model: { depth: 2 } } },
    ...{ clock: Date.now, say: (line: string) => said.push(line), pauses: [1, 1, 1] },
  });

const metricsIn = (heard: readonly Heard[]) =>
  heard.flatMap(
    ({ body }) => (body.metrics ?? []) as { key: string; value: number; step: number }[],
  );

test("MLflow gets experiment, run, recipe, every number, sheets and the model; a resumed run is the same one", async () => {
  const [folder, said] = [await newFolder(), [] as string[]];
  const { url, heard } = await server();
  await train(folder, 4, [tracker(url, said)]);
  expect(said).toEqual([]);
  expect(heard.slice(0, 3).map(({ path }) => path.replace("/api/2.0/mlflow/", ""))).toEqual([
    ...["experiments/get-by-name", "experiments/create", "runs/create"],
  ]);
  expect(heard[2]!.body).toMatchObject({ experiment_id: "7", run_name: "first" });
  expect(heard[3]!.body).toEqual({
    run_id: "r1",
    params: [
      { key: "lr", value: "0.5" },
      { key: "model.depth", value: "2" },
    ],
  });
  const losses = metricsIn(heard).filter(({ key }) => key === "loss");
  expect(losses.map(({ step, value }) => [step, value])).toEqual([
    ...[
      [1, 1],
      [2, 0.5],
      [3, 1 / 3],
      [4, 0.25],
    ],
  ]);
  expect(metricsIn(heard).some(({ key }) => key === "odd")).toBe(false);
  const files = heard.filter(({ method }) => method === "PUT").map(({ path }) => path);
  const root = "/api/2.0/mlflow-artifacts/artifacts/7/r1/artifacts";
  expect(files).toEqual([`${root}/sheets/0000004.png`, `${root}/model.safetensors`]);
  expect(heard.at(-1)!.body).toMatchObject({ run_id: "r1", status: "FINISHED" });
  const before = heard.length;
  await train(folder, 6, [tracker(url, said)]);
  expect(heard.slice(before).some(({ path }) => path.endsWith("runs/create"))).toBe(false);
  expect(metricsIn(heard.slice(before)).filter(({ key }) => key === "loss")).toHaveLength(2);
});

test("a server that is busy now and then loses nothing", async () => {
  const [folder, said] = [await newFolder(), [] as string[]];
  const { url, heard } = await server((_, count) => (count % 3 === 0 ? 503 : undefined));
  await train(folder, 4, [tracker(url, said)]);
  expect(said).toEqual([]);
  const steps = metricsIn(heard).filter(({ key }) => key === "loss");
  expect(new Set(steps.map(({ step }) => step))).toEqual(new Set([1, 2, 3, 4]));
});

test("a server that is not there, or refuses, is told of once, and training ends as it would", async () => {
  for (const [url, words] of [
    ["http://127.0.0.1:9", /^MLflow: .*; training goes on and its numbers wait$/],
    [(await server(() => 403)).url, /^MLflow: .*; training goes on without it$/],
  ] as const) {
    const [folder, said] = [await newFolder(), [] as string[]];
    await train(folder, 4, [tracker(url, said)]);
    expect(said).toHaveLength(2);
    expect(said[0]).toMatch(words);
    expect(said[1]).toMatch(
      /^MLflow: 14 numbers and 2 files did not arrive; they are in metrics\.jsonl/,
    );
    expect(await readdir(folder)).toContain("model.safetensors");
  }
});

test("while a server is away for hours a bounded number waits; the newest arrive when it is back, the others are counted", async () => {
  const [folder, said] = [await newFolder(), [] as string[]];
  let [away, hours] = [true, 0];
  const { url, heard } = await server(() => (away ? 503 : undefined));
  const watcher = mlflow({
    ...{
      url,
      experiment: "discs",
      name: "first",
      params: { lr: 0.5 },
      pauses: [],
      mostWaiting: 50,
    },
    ...{ clock: () => hours * 3.6e6, say: (line: string) => said.push(line) },
  });
  const step = async (number: number) => {
    hours++; // longer than any rest: it is tried again at every step
    await watcher.afterStep!({ step: number, metrics: { loss: 1 / number } } as never);
    await new Promise((resolve) => setTimeout(resolve, 2));
  };
  await watcher.start!({ run: { folder } } as never);
  for (let number = 1; number <= 120; number++) await step(number);
  expect(said).toEqual([
    expect.stringMatching(/^MLflow: .*503.*; training goes on and its numbers wait$/),
    "MLflow: 50 numbers wait for the server; older ones are dropped there, not in metrics.jsonl",
  ]);
  away = false;
  for (let number = 121; number <= 130; number++) await step(number);
  await watcher.close!();
  const steps = metricsIn(heard.filter(({ path }) => path.endsWith("log-batch"))).map(
    (m) => m.step,
  );
  expect(steps).toEqual(Array.from(steps, (_, i) => 131 - steps.length + i)); // the newest, in order
  expect(said.slice(2)).toEqual([
    expect.stringMatching(/^MLflow: \d+ numbers did not arrive; they are in metrics\.jsonl$/),
  ]);
  const lost = Number(/\d+/.exec(said[2]!)![0]);
  expect(lost + steps.length).toBe(130); // every number arrived or is counted
  expect(lost).toBeGreaterThanOrEqual(70);
  expect(lost).toBeLessThanOrEqual(80);
});
