/** The engine that is a server: `underpaint/client`, with pictures as blobs. Decides nothing. */

import { connect, type JobEvent } from "../../../src/client.ts";
import type { DrawEvent, Engine } from "./engine.ts";

export interface ServerOptions {
  /** Default the origin that served the page. */
  url?: string;
  /** For servers with keys; without a right one every call fails with status 401. */
  key?: string;
}

export function serverEngine({ url, key }: ServerOptions = {}): Engine {
  const client = connect({ url, key });
  return {
    where: "server",
    models: (options) => client.models(options),
    async *draw(request, options) {
      const { id } = await client.submit({ ...request, attached: true }, options);
      for await (const event of client.events(id, options)) {
        if (event.kind === "state" && event.state !== "queued" && event.state !== "running") {
          if (event.state === "done") return;
          throw new Error(event.error ?? `the job was ${event.state}`);
        }
        yield told(id, event);
      }
      options?.signal?.throwIfAborted();
      throw new Error("the server went away while it drew; the job goes on when it is back");
    },
    jobs: (options) => client.jobs(options),
    png: ({ url: path }, options) => client.file(path, options),
    remove: async (id, options) => void (await client.remove(id, options)),
    runs: {
      list: (options) => client.runs(options),
      events: (name, options) => client.runEvents(name, options),
      sheet: (name, file, options) =>
        client.file(
          `/runs/${encodeURIComponent(name)}/sheets/${encodeURIComponent(file)}`,
          options,
        ),
    },
  };
}

function told(id: string, event: JobEvent): DrawEvent {
  if (event.kind === "state") return { kind: "state", id, state: event.state as "queued" };
  const { b64_json, ...rest } = event;
  const bytes = Uint8Array.from(atob(b64_json), (c) => c.charCodeAt(0));
  const png = new Blob([bytes], { type: "image/png" });
  return rest.kind === "scale" ? { ...rest, png } : { ...rest, job: id, png };
}
