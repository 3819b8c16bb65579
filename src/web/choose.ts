/** Where a page's model runs: WebAssembly, or WebGPU where that works and pays; and why. Draws nothing. */

import type { Tensor } from "../formats/dtype.ts";
import { type Backend, type BackendName, openBackend } from "../tensor/backend.ts";
import { constant, createGraph, input, output } from "../tensor/graph.ts";
import { gelu, matmul } from "../tensor/ops.ts";
import { rng } from "../tensor/rng.ts";
import type { BackendChoice, Reason, RunsOn } from "./protocol.ts";

export interface Wanted {
  readonly choice: BackendChoice;
  /** What one picture costs: see `samplingFlops`. */
  readonly flops: number;
  /** Of WebAssembly. */
  readonly threads: number;
}

/** What a choice looks at; the browser's own, unless a test says otherwise. */
export interface Surroundings {
  readonly gpu?: { requestAdapter(options?: object): Promise<Adapter | null> };
  open(name: BackendName): Promise<Backend>;
  /** Milliseconds. */
  now(): number;
}

interface Adapter {
  readonly info?: { readonly isFallbackAdapter?: boolean };
  readonly isFallbackAdapter?: boolean;
}

/**
 * "auto" leaves WebGPU alone for pictures below this many FLOPs. WebAssembly needs seconds for them, and WebGPU 27 MB
 * more of runtime and shaders to be compiled, before its first picture.
 */
export const PAYS = 100e9;
/** "auto" wants the trial to be so many times faster; less is lost again to feeds and results that travel. */
const FASTER = 2;
/** Largest difference in the trial, relative to the largest number: rounding is 1e-6 of it. */
const CLOSE = 1e-3;

const WHY: Readonly<Record<Reason, string>> = {
  asked: "it was asked for",
  faster: "a trial was faster on the graphics processor",
  "no-webgpu": "this browser has no WebGPU here",
  "no-adapter": "the browser offers no graphics processor",
  software: "the browser's WebGPU is software, slower than WebAssembly",
  small: "the model is small: WebAssembly is ready sooner",
  slower: "a trial was no faster on the graphics processor",
  wrong: "the graphics processor failed a trial sum",
  failed: "WebGPU failed",
};

/** @param detail what the runtime said */
export const runsOn = (
  backend: RunsOn["backend"],
  reason: Reason,
  { threads, detail }: { threads: number; detail?: string },
): RunsOn => ({
  backend,
  threads: backend === "wasm" ? threads : 1,
  reason,
  why: detail ? `${WHY[reason]}: ${detail}` : WHY[reason],
});

/**
 * Decides. "wasm" is taken as said; "webgpu" where there is any adapter that computes what it should, be it slow; "auto"
 * where that is a graphics processor, the model is large and a trial is at least twice as fast. Never throws.
 */
export async function chooseBackend(
  { choice, flops, threads }: Wanted,
  { gpu, open, now }: Surroundings = here(),
): Promise<RunsOn> {
  const wasm = (reason: Reason, detail?: string) => runsOn("wasm", reason, { threads, detail });
  if (choice === "wasm") return wasm("asked");
  if (choice === "auto" && flops < PAYS) return wasm("small");
  if (!gpu) return wasm("no-webgpu");
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return wasm("no-adapter");
    const isSoftware = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;
    if (choice === "auto" && isSoftware) return wasm("software");
    // Who asked for it gets it, be it slow; that it computes is seen from a few rows.
    const size = choice === "auto" ? { rows: ROWS, rounds: 3 } : { rows: 8, rounds: 0 };
    const theirs = await trial(await open("ort-webgpu"), { now, ...size });
    const ours = await trial(await open("ort-web"), { now, threads, ...size });
    if (!isClose(theirs.y, ours.y)) return wasm("wrong");
    if (choice === "webgpu") return runsOn("webgpu", "asked", { threads });
    const isFaster = theirs.ms * FASTER <= ours.ms;
    return isFaster ? runsOn("webgpu", "faster", { threads }) : wasm("slower");
  } catch (error) {
    return wasm("failed", firstLine(error));
  }
}

export const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split("\n")[0]!;

function here(): Surroundings {
  const { gpu } = (globalThis.navigator ?? {}) as Pick<Surroundings, "gpu">;
  return { gpu, open: (name) => openBackend(name), now: () => performance.now() };
}

/** Rows and width of the trial: a feed-forward layer as a large VAR has it, 1 GFLOP. */
const [ROWS, WIDTH] = [256, 1024];

interface Trial {
  readonly rows: number;
  /** Runs that are timed, after one that compiles. */
  readonly rounds: number;
  readonly now: () => number;
  readonly threads?: number;
}

/** The result of the trial and the time of the fastest round. */
async function trial(
  backend: Backend,
  { rows, rounds, now, threads }: Trial,
): Promise<{ y: Tensor; ms: number }> {
  const random = (name: string, rows: number): Tensor => ({
    dtype: "float32",
    shape: [rows, WIDTH],
    data: rng("trial")
      .child(name)
      .fillNormal(new Float32Array(rows * WIDTH), { std: 1 / 32 }),
  });
  const g = createGraph("trial");
  const x = input(g, "x", [rows, WIDTH]);
  const [up, down] = ["up", "down"].map((name) => constant(g, random(name, WIDTH)));
  output(g, "y", matmul(gelu(matmul(x, up!, { transB: true })), down!));
  const session = await backend.compile(g, { threads });
  try {
    const feeds = { x: random("x", rows) };
    let y = (await session.run(feeds)).y!;
    let ms = Number.POSITIVE_INFINITY;
    for (let i = 0; i < rounds; i++) {
      const begin = now();
      y = (await session.run(feeds)).y!;
      ms = Math.min(ms, now() - begin);
    }
    return { y, ms };
  } finally {
    await session.release();
  }
}

function isClose(a: Tensor, b: Tensor): boolean {
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  const size = y.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  return x.length === y.length && y.every((v, i) => Math.abs(v - x[i]!) <= CLOSE * size);
}
