/** The engine that is the page itself: `underpaint/web` draws, IndexedDB keeps. Needs no server. */

import type { Branch } from "../../../src/image/orders.ts";
import { jobId } from "../../../src/server/job.ts";
import { openInPage, type WebModel } from "../../../src/web/index.ts";
import type {
  BackendChoice,
  DrawRequest,
  Engine,
  Job,
  JobPicture,
  ModelInfo,
  PageBackend,
  PageModel,
  RunsOn,
  Wait,
} from "./engine.ts";
import { openKept } from "./kept.ts";

const opened = new Map<string, WebModel>();

const KEY = "underpaint-backend";
const CHOICES: readonly BackendChoice[] = ["auto", "wasm", "webgpu"];
let choice: BackendChoice = chosenBefore();
let on: RunsOn | undefined;

function chosenBefore(): BackendChoice {
  try {
    return CHOICES.find((one) => one === localStorage.getItem(KEY)) ?? "auto";
  } catch {
    return "auto";
  }
}

const backend: PageBackend = {
  get choice() {
    return choice;
  },
  choose(next) {
    choice = next;
    on = undefined;
    for (const model of opened.values()) model.close();
    opened.clear();
    try {
      localStorage.setItem(KEY, next);
    } catch {} // this visit only
  },
  get on() {
    return on;
  },
};

/** The model in the page; fetched once, whoever asks. */
export function pageModel({ info, var: transformer, vqvae }: PageModel): WebModel {
  let model = opened.get(info.id);
  if (!model) {
    model = openInPage({ var: transformer, vqvae }, { name: info.id, backend: choice });
    opened.set(info.id, model);
    // What could not be fetched is tried again the next time.
    model.info().catch(() => {
      model?.close();
      opened.delete(info.id);
    });
  }
  return model;
}

export async function pageEngine(models: readonly PageModel[]): Promise<Engine> {
  const kept = await openKept();
  const named = (name: string | undefined): PageModel => {
    const found = name === undefined ? models[0] : models.find(({ info }) => info.id === name);
    if (found) return found;
    throw new Error(
      `there is no model "${name}" in this page; there is: ${models.map(({ info }) => info.id).join(", ")}`,
    );
  };
  return {
    where: "page",
    backend,
    models: async () => models.map(({ info }) => info),
    async *draw(request, { signal }: Wait = {}) {
      const one = named(request.model);
      const id = jobId(Date.now(), crypto.getRandomValues(new Uint8Array(8)));
      const seed = request.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
      let job = jobOf({ id, seed, created: Date.now(), info: one.info, request });
      yield { kind: "state", id, state: "queued" };
      const model = pageModel(one);
      for await (const { bytes } of model.loading()) {
        signal?.throwIfAborted();
        yield { kind: "loading", share: Math.min(1, bytes / one.bytes) };
      }
      yield { kind: "state", id, state: "running" };
      let state: Job["state"] = "cancelled"; // what leaving in between makes of it
      try {
        for await (const event of model.draw({ ...request, seed }, { signal })) {
          const { png: bytes, ...rest } = event;
          const png = new Blob([bytes as BlobPart], { type: "image/png" });
          if (rest.kind === "scale") {
            yield { ...rest, ids: [...rest.ids], doubt: [...rest.doubt], png };
            continue;
          }
          const { kind, seed: _, edit, ...picture } = rest;
          const told: JobPicture = { ...picture, url: `${id}/${picture.place}.png` };
          const pictures = [...job.pictures, told];
          job = { ...job, pictures, labels: labelsOf(job, told), ...(edit && { edit }) };
          await kept.save(job, { url: told.url, png });
          yield { kind, job: id, ...picture, png };
        }
        state = "done";
      } finally {
        if (job.pictures.length) await kept.save({ ...job, state, ended: Date.now() });
        if (state === "done") on = await model.runsOn();
      }
    },
    jobs: ({ limit = 50, before } = {}) => kept.list({ limit, before }),
    png: ({ url }) => kept.png(url),
    remove: (id) => kept.remove(id),
  };
}

interface Begun {
  readonly id: string;
  readonly seed: number;
  readonly created: number;
  readonly info: ModelInfo;
  readonly request: DrawRequest;
}

/** As a server would tell it. */
const jobOf = ({ id, seed, created, info, request }: Begun): Job => ({
  id,
  created,
  state: "running",
  model: info.id,
  labels: [],
  seed,
  first: request.first ?? 0,
  guidance: request.guidance ?? info.guidance,
  top_k: request.top_k ?? info.top_k,
  top_p: request.top_p ?? info.top_p,
  temperature: request.temperature ?? info.temperature,
  branches: (request.branches ?? []) as readonly Branch[],
  pictures: [],
});

function labelsOf({ labels }: Job, { place, label }: JobPicture): string[] {
  const all = [...labels];
  all[place] = label;
  return all;
}
