/**
 * The server under load, beside the sampler alone: `npx tsx bench/serve.ts [--clients 200] [--seconds 60] [--dry]`.
 * Clients ask OpenAI's route for one picture each, wait for it, and ask again; told to come later (429) they do. They share
 * the server's cores, so they are kept cheap. Then the server is killed in the midst and started again, and every job it
 * had accepted must be there. Needs `npm run build`.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Client, connect } from "../src/client.ts";
import { encodePng } from "../src/formats/png.ts";
import { loadVarFrom } from "../src/image/node.ts";
import { generate } from "../src/image/sampler.ts";
import { median } from "./contest.ts";
import { machine } from "./machine.ts";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "200" },
    seconds: { type: "string", default: "60" },
    rounds: { type: "string", default: "3" },
    dry: { type: "boolean", default: false },
  },
});
const [CLIENTS, SECONDS, ROUNDS] = [values.clients, values.seconds, values.rounds].map(Number) as [
  number,
  number,
  number,
];
const MAIN = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const MODEL = "emoji64";
const BATCH = 16;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const quantile = (list: readonly number[], q: number): number =>
  [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(q * list.length))]!;

interface Running {
  readonly child: ChildProcess;
  readonly client: Client;
  readonly url: string;
}

async function serve(folder: string): Promise<Running> {
  const args = [
    MAIN,
    "serve",
    "--model",
    MODEL,
    "--port",
    "0",
    "--folder",
    folder,
    "--batch",
    String(BATCH),
    "--json",
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const url = await new Promise<string>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    child.stdout!.once("data", (text: Buffer) => resolve(JSON.parse(text.toString()).url));
  });
  return { child, url, client: connect({ url }) };
}

async function end({ child }: Running, signal: NodeJS.Signals): Promise<void> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}

/** Pictures per second of the sampler alone, PNG included, after a batch to warm up. */
async function samplerRate(count: number): Promise<number> {
  const model = await loadVarFrom(MODEL);
  const draw = async (n: number) => {
    for await (const { picture } of generate(model, { count: n, batch: BATCH }))
      await encodePng(picture);
  };
  await draw(BATCH);
  const begin = performance.now();
  await draw(count);
  const seconds = (performance.now() - begin) / 1000;
  await model.release();
  return count / seconds;
}

interface Load {
  readonly done: number;
  readonly perSecond: number;
  readonly refused: number;
  readonly failed: number;
  readonly seconds: { readonly median: number; readonly p95: number; readonly most: number };
  /** Resident memory in MiB, every five seconds. */
  readonly memory: readonly number[];
}

interface Answer {
  readonly status: number;
  /** Seconds. */
  readonly retryAfter: number;
  readonly text: string;
}

/** A picture asked of `/v1/images/generations`, over a connection that stays open. */
const ask = (url: string, agent: Agent, seed: number): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const asked = request(`${url}/v1/images/generations`, { method: "POST", agent, headers });
    asked.on("error", reject);
    asked.on("response", (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("error", reject);
      answer.on("end", () => {
        const retryAfter = Number(answer.headers["retry-after"] ?? 1);
        resolve({ status: answer.statusCode!, retryAfter, text: Buffer.concat(parts).toString() });
      });
    });
    asked.end(JSON.stringify({ prompt: "food", n: 1, seed }));
  });

const isPicture = (text: string): boolean => {
  const { data } = JSON.parse(text) as { data?: { b64_json?: string }[] };
  return data?.length === 1 && data[0]!.b64_json!.startsWith("iVBORw0KGgo"); // the beginning of every PNG
};

/** All clients at once for a while; each waits for its picture before it asks for the next. */
async function load({ url }: Running): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  let [done, refused, failed] = [0, 0, 0];
  const seconds: number[] = [];
  const memory: number[] = [];
  const begin = performance.now();
  const until = begin + SECONDS * 1000;
  const one = async (number: number) => {
    for (let turn = 0; performance.now() < until; turn++) {
      const asked = performance.now();
      try {
        const { status, retryAfter, text } = await ask(url, agent, number * 10_000 + turn);
        if (status === 429) {
          refused++;
          await sleep(1000 * retryAfter);
        } else if (status !== 200 || !isPicture(text)) failed++;
        else if (performance.now() < until) {
          done++;
          seconds.push((performance.now() - asked) / 1000);
        }
      } catch {
        failed++;
      }
    }
  };
  const watch = async () => {
    while (performance.now() < until) {
      const text = await (await fetch(`${url}/metrics`)).text();
      memory.push(Number(/^process_resident_memory_bytes (\d+)/m.exec(text)![1]) / 2 ** 20);
      await sleep(5000);
    }
  };
  await Promise.all([watch(), ...Array.from({ length: CLIENTS }, (_, i) => one(i))]);
  agent.destroy();
  return {
    done,
    perSecond: done / SECONDS,
    refused,
    failed,
    seconds: { median: median(seconds), p95: quantile(seconds, 0.95), most: Math.max(...seconds) },
    memory: memory.map(Math.round),
  };
}

/** Jobs handed in, the server killed in the midst, started again: how many came to a good end. */
async function kill(folder: string): Promise<{ accepted: number; resumed: number; done: number }> {
  const first = await serve(folder);
  const jobs = await Promise.all(
    Array.from({ length: 100 }, (_, seed) =>
      first.client.submit({ seed, count: 2, scales: false }),
    ),
  );
  await sleep(2000);
  await end(first, "SIGKILL");
  const second = await serve(folder);
  const left = (await Promise.all(jobs.map(({ id }) => second.client.job(id)))).filter(
    ({ state }) => state !== "done",
  ).length;
  let done = 0;
  for (const { id } of jobs) {
    for await (const _ of second.client.events(id));
    const job = await second.client.job(id);
    if (job.state === "done" && job.pictures.length === 2) done++;
  }
  await end(second, "SIGTERM");
  return { accepted: jobs.length, resumed: left, done };
}

const home = mkdtempSync(join(tmpdir(), "underpaint-load-"));
try {
  const rates = [await samplerRate(128)];
  const running = await serve(join(home, "load"));
  for await (const _ of running.client.draw({ count: BATCH, scales: false })); // warm
  const loaded = await load(running);
  await end(running, "SIGTERM");
  while (rates.length < ROUNDS) rates.push(await samplerRate(128));
  const killed = await kill(join(home, "kill"));
  const sampler = median(rates);
  const result = {
    date: new Date().toISOString().slice(0, 10),
    machine: machine({}),
    clients: CLIENTS,
    forSeconds: SECONDS,
    batch: BATCH,
    sampler: { perSecond: sampler, rounds: rates },
    server: loaded,
    ratio: loaded.perSecond / sampler,
    killed,
  };
  console.log(JSON.stringify(result, null, 2));
  if (!values.dry)
    writeFileSync(
      fileURLToPath(new URL("results/serve.json", import.meta.url)),
      `${JSON.stringify(result, null, 2)}\n`,
    );
} finally {
  rmSync(home, { recursive: true, force: true });
}
