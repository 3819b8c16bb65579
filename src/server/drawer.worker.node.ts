/** The drawing thread: loads the models, draws one batch after the other, stops when told. Entry of a worker thread; exports nothing. */

import { parentPort, workerData } from "node:worker_threads";
import type { Var } from "../image/model.ts";
import { loadVarFrom } from "../image/node.ts";
import type { PrecisionChoice } from "../image/precision.ts";
import { drawWishes, served, told } from "./drawer.ts";
import type { FromDrawer, ModelFiles, ToDrawer } from "./protocol.ts";

/** What the thread is started with. */
export interface DrawerData {
  readonly models: readonly ModelFiles[];
  readonly threads?: number;
  readonly precision?: PrecisionChoice;
}

const { models, threads, precision } = workerData as DrawerData;
const port = parentPort!;
const send = (message: FromDrawer): void => port.postMessage(message);

const loaded = new Map<string, Var>();
try {
  for (const { name, files } of models)
    loaded.set(name, await loadVarFrom(files, { threads, precision }));
  send({ kind: "ready", models: [...loaded].map(([name, model]) => served(name, model)) });
} catch (error) {
  send(told(error));
}

let running: AbortController | undefined;
port.on("message", (message: ToDrawer) => {
  if (message.kind === "stop") running?.abort();
  else void draw(message);
});

async function draw({ model, wishes }: Extract<ToDrawer, { kind: "draw" }>): Promise<void> {
  const own = new AbortController();
  running = own;
  try {
    for await (const step of drawWishes(loaded.get(model)!, wishes, { signal: own.signal })) {
      send(step);
      await new Promise((resolve) => setImmediate(resolve)); // a "stop" gets its turn
    }
    send({ kind: "done" });
  } catch (error) {
    send(told(error));
  } finally {
    running = undefined;
  }
}
