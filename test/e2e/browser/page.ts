/** The page under test: everything of ours that must work in a browser, called from outside by name. */

import { decodePng, encodePng } from "../../../src/formats/index.ts";
import { loadVar, type Var } from "../../../src/image/model.ts";
import type { SampleOptions } from "../../../src/image/orders.ts";
import { type BackendName, openBackend } from "../../../src/tensor/backend.ts";
import { type BackendChoice, openInPage, type RunsOn } from "../../../src/web/index.ts";
import { conformance } from "../../conformance/conformance.ts";
import { type Asked, collect, requestOf, type Told } from "./requests.ts";
import { type Outcome, runTests } from "./runner.ts";
import { type Drawn, type DrawOptions, draw, logitsOf, train } from "./work.ts";

const fetched = async (path: string): Promise<Uint8Array> =>
  new Uint8Array(await (await fetch(path)).arrayBuffer());

/** The public entries, as programs import them. */
const ENTRIES = {
  ".": () => import("../../../src/index.ts"),
  "./formats": () => import("../../../src/formats/index.ts"),
  "./tensor": () => import("../../../src/tensor/index.ts"),
  "./nn": () => import("../../../src/nn/index.ts"),
  "./image": () => import("../../../src/image/index.ts"),
  "./data": () => import("../../../src/data/index.ts"),
  "./train": () => import("../../../src/train/index.ts"),
  "./guard": () => import("../../../src/guard/index.ts"),
  "./client": () => import("../../../src/client.ts"),
  "./web": () => import("../../../src/web/index.ts"),
  "./eval": () => import("../../../src/eval/index.ts"),
  "./guard/sign": () => import("../../../src/guard/sign/index.ts"),
  "./guard/ledger": () => import("../../../src/guard/ledger/index.ts"),
  "./guard/node": () => import("../../../src/guard/node.ts"),
};

let opened: Var | undefined;

const calls = {
  facts: async () => ({
    isolated: crossOriginIsolated,
    backend: (await openBackend()).name,
  }),

  conformance(name: BackendName, skip: Record<string, string>): Promise<Outcome[]> {
    conformance({ name, make: () => openBackend(name), skip });
    return runTests();
  },

  async sample(folder: string, options: Omit<DrawOptions, "backend">): Promise<Drawn> {
    const [transformer, vqvae] = await Promise.all(
      ["var", "vqvae"].map((name) => fetched(`${folder}/${name}.safetensors`)),
    );
    return draw({ var: transformer!, vqvae: vqvae! }, { ...options, backend: "ort-web" });
  },

  /** Draws pictures one by one: their tokens, and the logits they were drawn from, float32 in base64. */
  async logits(
    folder: string,
    { backend, all }: { backend: BackendName; all: readonly SampleOptions[] },
  ): Promise<{ ids: number[]; logits: string }[]> {
    const [transformer, vqvae] = await Promise.all(
      ["var", "vqvae"].map((name) => fetched(`${folder}/${name}.safetensors`)),
    );
    opened ??= await loadVar({ var: transformer!, vqvae: vqvae! }, { backend });
    const drawn = [];
    for (const options of all) {
      const { ids, logits } = await logitsOf(opened, options);
      const bytes = new Uint8Array(logits.buffer);
      let text = "";
      for (let at = 0; at < bytes.length; at += 2 ** 15)
        text += String.fromCharCode(...bytes.subarray(at, at + 2 ** 15));
      drawn.push({ ids, logits: btoa(text) });
    }
    return drawn;
  },

  train: () => train("ort-web"),

  /** Draws requests with the model of a worker, one after the other; tokens by picture and scale, pixels at the end. */
  async web(folder: string, requests: readonly Asked[]): Promise<Told[]> {
    const files = { var: `${folder}/var.safetensors`, vqvae: `${folder}/vqvae.safetensors` };
    const model = openInPage(files, { name: folder });
    const loaded: number[] = [];
    for await (const { bytes, of } of model.loading()) loaded.push(bytes / of!);
    if (loaded.at(-1) !== 1) throw new Error(`loading ended at ${loaded.at(-1)}`);
    const all: Told[] = [];
    for (const asked of requests) all.push(await collect(model.draw(requestOf(asked))));
    model.close();
    return all;
  },

  /** Draws where it is told to, and says where that was. */
  async webOn(
    folder: string,
    {
      backend,
      asked,
      threads,
    }: { backend: BackendChoice; asked: readonly Asked[]; threads?: number },
  ): Promise<{ on: RunsOn; told: Told[]; scales: number }> {
    const files = { var: `${folder}/var.safetensors`, vqvae: `${folder}/vqvae.safetensors` };
    const model = openInPage(files, { name: folder, backend, threads });
    const told: Told[] = [];
    for (const one of asked) told.push(await collect(model.draw(requestOf(one))));
    let scales = 0;
    const { pixels } = told[0]!.pictures[0]!;
    const side = Math.sqrt(pixels.length / 3);
    const data = Uint8Array.from(pixels);
    const image = await encodePng({ width: side, height: side, channels: 3, data });
    for await (const _ of model.unfold(image)) scales++;
    const on = await model.runsOn();
    model.close();
    return { on, told, scales };
  },

  /** Stops a draw after its first scale, then draws: how many scales came, why it ended, and what came next. */
  async webStopped(folder: string, then: Asked) {
    const files = { var: `${folder}/var.safetensors`, vqvae: `${folder}/vqvae.safetensors` };
    const model = openInPage(files);
    const stop = new AbortController();
    let scales = 0;
    let reason = "";
    try {
      for await (const event of model.draw({ count: 40 }, { signal: stop.signal })) {
        if (event.kind === "scale") scales = Math.max(scales, event.scale + 1);
        stop.abort();
      }
    } catch (error) {
      reason = (error as Error).name;
    }
    const next = await collect(model.draw(requestOf(then)));
    const refused = await collect(model.draw({ label: "no such" })).catch(
      (e: Error) => `${e.name}`,
    );
    model.close();
    const closed = await collect(model.draw({})).catch((e: Error) => e.message);
    return { scales, reason, next, refused, closed };
  },

  /** A picture through the tokenizer: sides, tokens and what is missing after each scale. */
  async unfold(folder: string, image: readonly number[]) {
    const files = { var: `${folder}/var.safetensors`, vqvae: `${folder}/vqvae.safetensors` };
    const model = openInPage(files);
    const scales = [];
    for await (const { shape, ids, lengths } of model.unfold(Uint8Array.from(image)))
      scales.push({ shape, ids: [...ids], lengths });
    model.close();
    return scales;
  },

  /** Decodes a PNG with our code, encodes it again, and lets the browser itself decode that. */
  async png(path: string) {
    const { text, ...image } = await decodePng(await fetched(path));
    const again = await encodePng(image, { text });
    const shown = await createImageBitmap(new Blob([again as BlobPart], { type: "image/png" }));
    const context = new OffscreenCanvas(shown.width, shown.height).getContext("2d")!;
    context.drawImage(shown, 0, 0);
    const rgba = context.getImageData(0, 0, shown.width, shown.height).data;
    return {
      ...image,
      data: [...image.data],
      text,
      bytes: [...again],
      shown: [...rgba].filter((_, i) => i % 4 !== 3),
    };
  },

  /** How many public names each entry has here; throws where one does not load. */
  entries: async (): Promise<Record<string, string[]>> => {
    const loaded = Object.entries(ENTRIES).map(
      async ([name, load]) => [name, Object.keys(await load()).sort()] as const,
    );
    return Object.fromEntries(await Promise.all(loaded));
  },

  async fileOnDisk(): Promise<string> {
    const { loadVarFrom } = await import("../../../src/index.ts");
    return loadVarFrom("models/emoji64").then(
      () => "loaded",
      (error: Error) => `${error.constructor.name}: ${error.message}`,
    );
  },
};

/** What the test may call. */
export type PageCalls = typeof calls;

Object.assign(globalThis, { calls });
