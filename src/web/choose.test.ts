/** Where a model runs: every reason, with backends and adapters that behave as told. */

import { expect, test } from "vitest";
import type { Backend, BackendName } from "../tensor/backend.ts";
import { openBackend } from "../tensor/backend.ts";
import { chooseBackend, PAYS, type Surroundings } from "./choose.ts";
import type { BackendChoice } from "./protocol.ts";

interface World {
  adapter?: "none" | "software" | "real" | "throws";
  /** How many times as long as WebAssembly a run on WebGPU takes. */
  slowness?: number;
  /** Added to every number of WebGPU. */
  off?: number;
}

/** A browser whose WebGPU is WebAssembly, by a clock that runs as told. */
function world({ adapter = "real", slowness = 0.1, off = 0 }: World): Surroundings {
  let clock = 0;
  let opened: BackendName[] = [];
  const paced = async (name: BackendName): Promise<Backend> => {
    opened = [...opened, name];
    const inner = await openBackend("ort-node");
    const isGpu = name === "ort-webgpu";
    return {
      name,
      async compile(graph, options) {
        const session = await inner.compile(graph, options);
        return {
          ...session,
          async run(feeds) {
            const got = await session.run(feeds);
            clock += 100 * (isGpu ? slowness : 1);
            const data = got.y!.data as Float32Array;
            if (isGpu) data.set(data.map((v) => v + off));
            return got;
          },
        };
      },
    };
  };
  const adapters = {
    none: async () => null,
    software: async () => ({ info: { isFallbackAdapter: true } }),
    real: async () => ({ info: { isFallbackAdapter: false } }),
    throws: async () => {
      throw new Error("the driver is lost\nmore");
    },
  };
  return { gpu: { requestAdapter: adapters[adapter] }, open: paced, now: () => clock };
}

const LARGE = 10 * PAYS;
const decided = (choice: BackendChoice, around: Surroundings, flops = LARGE) =>
  chooseBackend({ choice, flops, threads: 4 }, around);

test.each<[choice: BackendChoice, World, flops: number, backend: string, reason: string]>([
  ["wasm", {}, LARGE, "wasm", "asked"],
  ["auto", {}, PAYS / 2, "wasm", "small"],
  ["auto", { adapter: "none" }, LARGE, "wasm", "no-adapter"],
  ["webgpu", { adapter: "none" }, LARGE, "wasm", "no-adapter"],
  ["auto", { adapter: "software" }, LARGE, "wasm", "software"],
  ["webgpu", { adapter: "software" }, PAYS / 2, "webgpu", "asked"],
  ["auto", { slowness: 0.4 }, LARGE, "webgpu", "faster"],
  ["auto", { slowness: 0.6 }, LARGE, "wasm", "slower"],
  ["webgpu", { slowness: 9 }, LARGE, "webgpu", "asked"],
  ["auto", { off: 1 }, LARGE, "wasm", "wrong"],
  ["webgpu", { off: Number.NaN }, LARGE, "wasm", "wrong"],
  ["webgpu", { adapter: "throws" }, LARGE, "wasm", "failed"],
])("%s in %o at %d FLOPs is %s: %s", async (choice, state, flops, backend, reason) => {
  const on = await decided(choice, world(state), flops);
  expect(on).toMatchObject({ backend, reason, threads: backend === "wasm" ? 4 : 1 });
  expect(on.why).toMatch(/^\w/);
  if (reason === "failed") expect(on.why).toBe("WebGPU failed: the driver is lost");
});

test("a browser without WebGPU says so, and nothing is fetched", async () => {
  const open = () => Promise.reject(new Error("nothing may be opened"));
  for (const choice of ["auto", "webgpu"] as const)
    expect(await decided(choice, { open, now: () => 0 })).toMatchObject({ reason: "no-webgpu" });
});

test("a runtime that cannot be fetched is a reason, not an end", async () => {
  const around = { ...world({}), open: () => Promise.reject(new Error("offline")) };
  expect(await decided("auto", around)).toMatchObject({ backend: "wasm", reason: "failed" });
});
