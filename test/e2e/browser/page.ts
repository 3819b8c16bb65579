/** The page under test: everything of ours that must work in a browser, called from outside by name. */

import { decodePng, encodePng } from "../../../src/formats/index.ts";
import { openBackend } from "../../../src/tensor/backend.ts";
import { conformance } from "../../conformance/conformance.ts";
import { type Outcome, runTests } from "./runner.ts";
import { type Drawn, type DrawOptions, draw, train } from "./work.ts";

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
  "./eval": () => import("../../../src/eval/index.ts"),
  "./guard/sign": () => import("../../../src/guard/sign/index.ts"),
  "./guard/ledger": () => import("../../../src/guard/ledger/index.ts"),
  "./guard/node": () => import("../../../src/guard/node.ts"),
};

const calls = {
  facts: async () => ({
    isolated: crossOriginIsolated,
    backend: (await openBackend()).name,
  }),

  conformance(skip: Record<string, string>): Promise<Outcome[]> {
    conformance({ name: "ort-web", make: () => openBackend("ort-web"), skip });
    return runTests();
  },

  async sample(folder: string, options: Omit<DrawOptions, "backend">): Promise<Drawn> {
    const [transformer, vqvae] = await Promise.all(
      ["var", "vqvae"].map((name) => fetched(`${folder}/${name}.safetensors`)),
    );
    return draw({ var: transformer!, vqvae: vqvae! }, { ...options, backend: "ort-web" });
  },

  train: () => train("ort-web"),

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
