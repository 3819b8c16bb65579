/** The page's worker: loads one model, answers one call after the other, stops when told. Entry of a worker; exports nothing. */

import type { DrawRequest } from "../client.ts";
import { InputError } from "../formats/errors.ts";
import { drawWishes, isCanvas, served } from "../server/drawer.ts";
import { editFacts } from "../server/edits.ts";
import type { ServedModel } from "../server/protocol.ts";
import {
  indexOf,
  type JobInput,
  jobInput,
  jobRequest,
  labelName,
  modelFacts,
  promptsOf,
  wishFor,
} from "../server/wish.ts";
import { openBackend } from "../tensor/backend.ts";
import { fetchFiles } from "./fetch.ts";
import { type Host, openHost } from "./host.ts";
import { readPicture } from "./picture.ts";
import type { CallName, Calls, DrawEvent, FromWorker, OpenCall, ToWorker } from "./protocol.ts";
import { unfold } from "./unfold.ts";

interface Wait {
  readonly signal: AbortSignal;
}
type Answers = {
  readonly [N in CallName]: (argument: Calls[N][0], wait: Wait) => AsyncGenerator<Calls[N][1]>;
};

/** Pictures drawn together. */
const BATCH = 16;
/** Pictures of one request. */
const MOST = 256;

let open: { readonly host: Host; readonly facts: ServedModel } | undefined;
function opened() {
  if (!open) throw new Error("the model was not opened; its opening failed");
  return open;
}

const ANSWERS: Answers = {
  async *open({ name, files, threads, backend }: OpenCall, { signal }) {
    const bytes = yield* fetchFiles(files, { signal });
    const host = await openHost(bytes, { choice: backend, threads });
    open = { host, facts: served(name, host.model) };
    yield { kind: "ready", info: modelFacts(open.facts), on: host.on };
  },

  async *draw(request: DrawRequest, { signal }) {
    const { host, facts } = opened();
    const { labels, count = 1, scales = true, branches } = request;
    checkedCount(labels?.length ?? count);
    const seed = request.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!;
    const input = await inputOf(request);
    const prompts = promptsOf(request, { edits: input !== undefined });
    const job = jobRequest(facts, { ...request, seed }, { prompts, scales, branches, input });
    const edit = job.edit && { edit: editFacts(job.edit) };
    const wishes = prompts.map((_, place) => wishFor(facts, job, { place, input }));
    const together = isCanvas(facts.info, wishes[0]!) ? 1 : BATCH;
    for (let at = 0; at < wishes.length; at += together) {
      const batch = wishes.slice(at, at + together);
      for await (const step of host.surely((model) => drawWishes(model, batch, { signal }))) {
        if (step.kind === "moved") yield step;
        if (step.kind !== "scale") continue;
        const { kind, scale, of, shape } = step;
        for (const { wish, png, ids, doubt, width, height } of step.drawn) {
          const place = at + wish;
          if (scales) yield { kind, place, scale, of, shape, ids, doubt, png };
          if (scale < of - 1) continue;
          const drawn = {
            ...{ label: labelName(facts, job.labels[place]!), index: indexOf(job, place), ...edit },
            ...{ width, height, png },
          };
          const event: DrawEvent = { kind: "picture", place, seed, ...drawn };
          yield event;
        }
      }
    }
  },

  async *unfold(image: Uint8Array, { signal }) {
    const picture = await readPicture(image);
    yield* opened().host.surely((model) => unfold(model, picture, { signal }));
  },
};

function checkedCount(count: number): number {
  if (Number.isInteger(count) && count >= 1 && count <= MOST) return count;
  throw new InputError(`count must be 1 to ${MOST}, got ${count}`, { count });
}

async function inputOf(request: DrawRequest): Promise<JobInput | undefined> {
  const { image, mask, other, kind } = request;
  if (!image) {
    if (mask || other) throw new InputError("a mask or another picture needs an image; give both");
    return undefined;
  }
  const read = async (bytes: Uint8Array | undefined, what: string) =>
    bytes && (await readPicture(bytes, { what }));
  const files = {
    mask: await read(mask, "the mask"),
    other: await read(other, "the other picture"),
  };
  return jobInput({ image: await readPicture(image, { what: "the image" }), ...files }, kind);
}

// ---- calls, one after the other

const send = (message: FromWorker): void => postMessage(message);
const stops = new Map<number, AbortController>();
let last: Promise<void> = Promise.resolve();

/** Bundlers that put everything into one file make it the file of WebAssembly's threads as well; those are the runtime's alone. */
const isThread = (globalThis as { name?: string }).name === "em-pthread";
if (isThread) void openBackend("ort-web");
else listen();

function listen(): void {
  addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
    if (data.call === "stop") {
      stops.get(data.id)?.abort();
      return;
    }
    const { id, call, argument } = data;
    const own = new AbortController();
    stops.set(id, own);
    last = last.then(() =>
      answer(id, ANSWERS[call](argument as never, { signal: own.signal }), own),
    );
  });
}

async function answer(
  id: number,
  events: AsyncGenerator<unknown>,
  { signal }: AbortController,
): Promise<void> {
  try {
    signal.throwIfAborted();
    for await (const event of events) {
      send({ id, kind: "event", event });
      await turn(); // a "stop" gets its turn
      signal.throwIfAborted();
    }
    send({ id, kind: "end" });
  } catch (error) {
    const input = error instanceof InputError;
    send({
      id,
      kind: "failed",
      message: error instanceof Error ? error.message : `${error}`,
      input,
    });
  } finally {
    stops.delete(id);
  }
}

/** Until messages that wait have been heard: a timer of its own would wait 4 ms. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
