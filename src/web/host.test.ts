/** A model that moves to WebAssembly when WebGPU fails. The backends are Node's, one of them made to break. */

import { expect, test } from "vitest";
import { louderModel, rowsOfIds } from "../../test/louder-var.ts";
import { InputError } from "../formats/errors.ts";
import type { Var } from "../image/model.ts";
import { type ScaleStep, sample } from "../image/sampler.ts";
import type { BackendName } from "../tensor/backend.ts";
import { runsOn } from "./choose.ts";
import { type Host, openHost } from "./host.ts";

const none = { var: new Uint8Array(), vqvae: new Uint8Array() };
const chosen = (backend: "wasm" | "webgpu") => async () => runsOn(backend, "asked", { threads: 3 });

/** Opens the same model for both; what was loaded and released is told. */
async function host(backend: "wasm" | "webgpu") {
  const told: string[] = [];
  const load = async (name: BackendName): Promise<Var> => {
    told.push(name);
    const model = await louderModel();
    const release = model.release.bind(model);
    model.release = () => {
      told.push(`${name} released`);
      return release();
    };
    return model;
  };
  const one = await openHost(none, { choice: backend, threads: 3, load, choose: chosen(backend) });
  return { one, told };
}

/** Draws, and breaks after some scales where it runs on WebGPU. */
async function* drawn(model: Var, { one, breaks }: { one: Host; breaks: number }) {
  const isGpu = one.on.backend === "webgpu";
  for await (const step of sample(model, { label: 1, seed: 4 })) {
    if (isGpu && step.scale === breaks) throw new Error("device lost\nat draw");
    yield step;
  }
}

async function all(one: Host, breaks: number) {
  const steps: ScaleStep[] = [];
  const moves: string[] = [];
  for await (const step of one.surely((model) => drawn(model, { one, breaks })))
    if ("kind" in step) moves.push(step.on.why);
    else steps.push(step);
  return { steps, moves };
}

test("what fails on WebGPU is drawn again on WebAssembly, from the beginning, and stays there", async () => {
  const { one, told } = await host("webgpu");
  expect(one.on.backend).toBe("webgpu");
  const { steps, moves } = await all(one, 2);
  expect(steps.map(({ scale }) => scale)).toEqual([0, 1, 0, 1, 2]);
  expect(moves).toEqual(["WebGPU failed: device lost"]);
  expect(one.on).toMatchObject({ backend: "wasm", reason: "failed", threads: 3 });
  expect(told).toEqual(["ort-web", "ort-webgpu", "ort-web", "ort-webgpu released"]);
  const again = await all(one, 2);
  expect(again.moves).toEqual([]);
  expect(rowsOfIds(again.steps)).toEqual(rowsOfIds(steps.slice(2)));
});

test("an asker's mistake, an abort, and what fails on WebAssembly are passed on", async () => {
  const { one, told } = await host("webgpu");
  const failing = (error: Error) =>
    one
      // biome-ignore lint/correctness/useYield: it fails before
      .surely(async function* () {
        throw error;
      })
      .next();
  await expect(failing(new InputError("no such class"))).rejects.toThrow("no such class");
  await expect(failing(new DOMException("stop", "AbortError"))).rejects.toThrow("stop");
  expect(one.on.backend).toBe("webgpu");
  await failing(new Error("lost")).catch(() => {});
  await expect(failing(new Error("no memory"))).rejects.toThrow("no memory");
  expect(told.filter((name) => name === "ort-web")).toHaveLength(2);
});

test("a model that was never on WebGPU is loaded once", async () => {
  const { one, told } = await host("wasm");
  expect((await all(one, 1)).steps).toHaveLength(3);
  expect(told).toEqual(["ort-web"]);
});
