/** What the pages draw through, wherever the model runs: at the server (server.ts) or in the page (page.ts). Draws nothing itself. */

import type {
  Course,
  DrawRequest,
  EditKind,
  Job,
  JobEvent,
  JobPicture,
  ModelInfo,
  Run,
  RunEvent,
} from "../../../src/client.ts";
import type { BackendChoice, RunsOn } from "../../../src/web/index.ts";

export type {
  BackendChoice,
  Course,
  DrawRequest,
  EditKind,
  Job,
  JobPicture,
  ModelInfo,
  Run,
  RunEvent,
  RunsOn,
};

/** What the page was served with: `studio.json` beside it. */
export interface StudioConfig {
  /** Who draws unless the visitor says otherwise. */
  readonly engine: Engine["where"];
  /** Models that can be loaded into the page; addresses are relative to it. */
  readonly models: readonly PageModel[];
}

export interface PageModel {
  readonly info: ModelInfo;
  readonly var: string;
  readonly vqvae: string;
  /** Bytes of both files together. */
  readonly bytes: number;
}

export type DrawEvent =
  /** Page engine only, before its first picture: the share of the model that is here, 0 to 1. */
  | { readonly kind: "loading"; readonly share: number }
  /** The job waits or runs; its id is its name in the gallery. */
  | { readonly kind: "state"; readonly id: string; readonly state: "queued" | "running" }
  | ScaleEvent
  | PictureEvent;

/** A picture after one scale, as the client tells it; no tokens and no doubt while a picture of another size is edited. */
export interface ScaleEvent extends Omit<Extract<JobEvent, { kind: "scale" }>, "b64_json"> {
  /** The picture so far: a PNG. */
  readonly png: Blob;
}

/** A finished picture; its PNG holds its parameters (see recall.ts). */
export interface PictureEvent extends Omit<JobPicture, "url"> {
  readonly kind: "picture";
  readonly job: string;
  readonly png: Blob;
}

export interface Wait {
  readonly signal?: AbortSignal;
}

/** Draws, and keeps what was drawn. */
export interface Engine {
  readonly where: "server" | "page";
  /** Known without loading any. */
  models(options?: Wait): Promise<readonly ModelInfo[]>;
  /**
   * Draws, telling every scale of every picture. An abort ends the job within one scale, and the iteration with the
   * signal's reason. An edit is a request with `image` (bytes of a PNG, JPEG or WebP) and its `kind`; a branch one with `branches` and the seed it branches off.
   * @throws Error with a sentence to show; ServerError (underpaint/client) with `status` where the server refuses
   */
  draw(request: DrawRequest, options?: Wait): AsyncGenerator<DrawEvent>;
  /** The gallery: jobs, newest first; `before` is the id of the last one of the page before. */
  jobs(options?: Wait & { limit?: number; before?: string }): Promise<readonly Job[]>;
  /** A finished picture's PNG; `url` as a job's picture names it. */
  png(picture: Pick<JobPicture, "url">, options?: Wait): Promise<Blob>;
  /** Takes a job out of the gallery. */
  remove(id: string, options?: Wait): Promise<void>;
  /** Training runs; absent where there is no server. */
  readonly runs?: Runs;
  /** Where the model runs; absent where a server draws. */
  readonly backend?: PageBackend;
}

/** WebAssembly or WebGPU: what the visitor wants, and what became of it. */
export interface PageBackend {
  readonly choice: BackendChoice;
  /** Models are opened anew; what is being drawn fails. */
  choose(choice: BackendChoice): void;
  /** Of the model that drew last; undefined before. */
  readonly on: RunsOn | undefined;
}

export interface Runs {
  list(options?: Wait): Promise<readonly Run[]>;
  /** Metrics and alarms of a run from its beginning, then as they come, until the signal. */
  events(name: string, options?: Wait): AsyncGenerator<RunEvent>;
  /** A sheet of samples: a PNG. `file` is one of a run's `sheets`. */
  sheet(name: string, file: string, options?: Wait): Promise<Blob>;
}
