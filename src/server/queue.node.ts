/** The queue: takes jobs, draws the pictures of many in one batch, tells what happens, and loses none. Knows no HTTP. */

import { randomBytes } from "node:crypto";
import { InputError } from "../formats/errors.ts";
import { type Batch, type Live, nextBatch } from "./batch.ts";
import type { Engine } from "./engine.node.ts";
import { isOver, type Job, type JobEvent, type JobPicture, type JobRequest, jobId } from "./job.ts";
import type { Drawn, FromDrawer, ServedModel, Wish } from "./protocol.ts";
import type { JobStore } from "./store.node.ts";
import { indexOf, type JobInput, labelName, wishFor } from "./wish.ts";

export interface QueueOptions {
  engine: Engine;
  store: JobStore;
  /** Milliseconds since 1970. */
  now: () => number;
  /** Pictures that wait or are drawn, at most; more are refused. Default 256. */
  most?: number;
  /** Pictures drawn together. Default 16. */
  batch?: number;
  /** Jobs kept on disk when they are over. Default 5000. */
  keep?: number;
  /** Is told the size of every batch and the seconds it took. */
  onBatch?: (pictures: number, seconds: number) => void;
  onEnd?: (job: Job) => void;
  /** Is told what went wrong inside. */
  log?: (line: string) => void;
}

/** Thrown when no more can wait; try again after `seconds`. */
export class QueueFull extends Error {
  override readonly name = "QueueFull";
  readonly seconds: number;
  constructor(seconds: number, most: number) {
    super(
      `${most} pictures are waiting, which is all there is room for; try again in ${seconds} seconds`,
    );
    this.seconds = seconds;
  }
}

/** Thrown while the server goes down. */
export class Closing extends Error {
  override readonly name = "Closing";
  constructor() {
    super("the server is shutting down; try again in a moment");
  }
}

/** Has a life: close it. */
export class JobQueue {
  readonly #options: Required<Omit<QueueOptions, "onBatch" | "onEnd">> &
    Pick<QueueOptions, "onBatch" | "onEnd">;
  readonly #live = new Map<string, Live>();
  #closing = false;
  #work: Promise<void> | undefined;
  #running: { readonly lives: ReadonlySet<Live>; readonly stop: AbortController } | undefined;
  /** Running mean of seconds per picture, for Retry-After. */
  #pace = 1;
  #ended = 0;

  constructor(options: QueueOptions) {
    const { most = 256, batch = 16, keep = 5000, log = () => {} } = options;
    this.#options = { ...options, most, batch, keep, log };
  }

  get models(): readonly ServedModel[] {
    return this.#options.engine.models;
  }

  /** Pictures that wait or are drawn. */
  get length(): number {
    let pictures = 0;
    for (const { waiting, drawing } of this.#live.values()) pictures += waiting.length + drawing;
    return pictures;
  }

  /** Takes up what an earlier process left. Returns how many jobs. */
  async resume(): Promise<number> {
    const { store, keep } = this.#options;
    const left = await store.unfinished();
    for (const job of left) {
      const input = job.request.edit && (await store.readInput(job.id));
      const live = this.#enter({ ...job, state: "queued" }, input);
      const { model } = job.request;
      if (!this.models.some(({ name }) => name === model))
        await this.#end(live, { state: "failed", error: `model ${model} is not served any more` });
    }
    await store.prune(keep);
    this.#wake();
    return left.length;
  }

  /** Accepts a job: when this returns it is on disk. @throws QueueFull, Closing */
  async submit(request: JobRequest, input?: JobInput): Promise<Job> {
    const { store, now, most } = this.#options;
    if (this.#closing) throw new Closing();
    if (this.length + request.labels.length > most)
      throw new QueueFull(Math.max(1, Math.ceil(this.length * this.#pace)), most);
    const created = now();
    const job: Job = {
      id: jobId(created, randomBytes(8)),
      created,
      state: "queued",
      request,
      pictures: [],
    };
    const live = this.#enter(job, input);
    try {
      await store.add(job, input);
    } catch (error) {
      this.#live.delete(job.id);
      throw error;
    }
    if (live.job.state === "queued") this.#wake();
    return job;
  }

  /** A job, live or from disk. */
  async get(id: string): Promise<Job | undefined> {
    return this.#live.get(id)?.job ?? this.#options.store.read(id);
  }

  /** Whether the job is on its way. */
  isLive(id: string): boolean {
    return this.#live.has(id);
  }

  /** Ends a job; what it shares a batch with goes on. Returns the job as it is then; undefined where there is none. */
  async cancel(id: string): Promise<Job | undefined> {
    const live = this.#live.get(id);
    if (!live) return this.#options.store.read(id);
    await this.#end(live, { state: "cancelled" });
    const running = this.#running;
    if (running && [...running.lives].every(({ job }) => isOver(job))) running.stop.abort();
    return live.job;
  }

  /**
   * What happens to a job, from the beginning, until it is over. A job that is over already tells its end only.
   * @param from leaves out that many events @throws the signal's reason
   */
  async *events(
    id: string,
    { from = 0, signal }: { from?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<JobEvent> {
    const live = this.#live.get(id);
    if (!live) {
      const job = await this.#options.store.read(id);
      if (job) yield { kind: "state", state: job.state, error: job.error };
      return;
    }
    for (let at = from; ; ) {
      while (at < live.events.length) yield live.events[at++]!;
      if (live.told) return;
      await new Promise<void>((resolve, reject) => {
        const end = (finish: () => void) => () => {
          live.listeners.delete(wake);
          signal?.removeEventListener("abort", stop);
          finish();
        };
        const wake = end(resolve);
        const stop = end(() => reject(signal?.reason));
        if (signal?.aborted) stop();
        live.listeners.add(wake);
        signal?.addEventListener("abort", stop);
      });
    }
  }

  /** Refuses new jobs, and waits until all are drawn or `signal` is aborted; the rest stays on disk for the next start. */
  async close({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    this.#closing = true;
    const stop = () => {
      for (const live of this.#live.values()) live.waiting.length = 0;
      this.#running?.stop.abort();
    };
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
    await this.#work;
    signal?.removeEventListener("abort", stop);
  }

  #enter(job: Job, input: JobInput | undefined): Live {
    const done = new Set(job.pictures.map(({ place }) => place));
    const waiting = job.request.labels.flatMap((_, place) => (done.has(place) ? [] : [place]));
    const live: Live = {
      job,
      input,
      waiting,
      drawing: 0,
      events: [],
      told: false,
      alone: false,
      listeners: new Set(),
    };
    this.#live.set(job.id, live);
    return live;
  }

  #wake(): void {
    this.#work ??= this.#drawAll().finally(() => {
      this.#work = undefined;
      if (this.#next()) this.#wake();
    });
  }

  #next(): Batch | undefined {
    const { batch: most } = this.#options;
    return nextBatch([...this.#live.values()], { models: this.models, most });
  }

  /** While a batch is drawn, the one before is written to disk. */
  async #drawAll(): Promise<void> {
    let writing = Promise.resolve();
    for (let batch = this.#next(); batch; batch = this.#next()) {
      const { written } = await this.#drawBatch(batch);
      await writing;
      writing = written;
    }
    await writing;
  }

  /** Draws a batch; `written` when all that came of it is on disk. It never fails: jobs do. */
  async #drawBatch({ model, picked }: Batch): Promise<{ written: Promise<void> }> {
    const { engine, onBatch, now } = this.#options;
    const stop = new AbortController();
    const lives = new Set(picked.map(({ live }) => live));
    this.#running = { lives, stop };
    for (const { live, place } of picked) {
      live.waiting.splice(live.waiting.indexOf(place), 1);
      live.drawing++;
      if (live.job.state === "queued") this.#tell(live, { state: "running" });
    }
    const begin = now();
    const saves: Promise<void>[] = [];
    let failure: unknown;
    try {
      const wishes = picked.map((pick) => this.#wish(pick));
      const outcome = await engine.draw(model, wishes, {
        signal: stop.signal,
        onScale: (scale) => {
          for (const drawn of scale.drawn) {
            const { live, place } = picked[drawn.wish]!;
            if (isOver(live.job)) continue;
            this.#tellScale(live, place, { scale, drawn });
            if (scale.scale < scale.of - 1) continue;
            const save = this.#finish(live, place, drawn);
            save.catch(() => {}); // its failure is heard after the batch
            saves.push(save);
          }
        },
      });
      if (outcome === "done") {
        const seconds = (now() - begin) / 1000;
        this.#pace += 0.2 * (seconds / picked.length - this.#pace);
        onBatch?.(picked.length, seconds);
      }
    } catch (error) {
      failure = error;
    } finally {
      this.#running = undefined;
    }
    return { written: this.#afterBatch(picked, { saves, failure }) };
  }

  async #afterBatch(
    picked: Batch["picked"],
    { saves, failure }: { saves: readonly Promise<void>[]; failure: unknown },
  ): Promise<void> {
    const lives = [...new Set(picked.map(({ live }) => live))];
    try {
      await Promise.all(saves);
      if (failure) throw failure;
    } catch (error) {
      // One bad wish must not take the others down with it: drawn alone, it fails alone.
      const again = lives.length > 1 && error instanceof InputError;
      for (const { live, place } of again ? picked : []) {
        live.alone = true;
        if (!isOver(live.job)) live.waiting.push(place);
      }
      const end = { state: "failed", error: sentence(error) } as const;
      if (!again) await Promise.all(lives.map((live) => this.#end(live, end)));
    }
    for (const { live } of picked) live.drawing--;
    await Promise.all(lives.map((live) => this.#endIfComplete(live)));
  }

  #wish({ live: { job, input }, place }: Batch["picked"][number]): Wish {
    return wishFor(this.#model(job.request), job.request, { place, input });
  }

  #model({ model }: JobRequest): ServedModel {
    return this.models.find(({ name }) => name === model)!;
  }

  async #finish(live: Live, place: number, { png, width, height }: Drawn): Promise<void> {
    if (isOver(live.job)) return;
    const { store } = this.#options;
    const { request, id } = live.job;
    await store.savePicture(id, place, png);
    const picture: JobPicture = {
      place,
      index: indexOf(request, place),
      label: labelName(this.#model(request), request.labels[place]!),
      width,
      height,
    };
    live.job = { ...live.job, pictures: [...live.job.pictures, picture] };
    this.#say(live, { kind: "picture", picture, png });
  }

  async #endIfComplete(live: Live): Promise<void> {
    const { job } = live;
    if (isOver(job)) return;
    if (job.pictures.length === job.request.labels.length) await this.#end(live, { state: "done" });
    else if (job.pictures.length > 0) await this.#options.store.save(job);
  }

  /** Over: on disk first, then told, then forgotten. */
  async #end(live: Live, end: Pick<Job, "state" | "error">): Promise<void> {
    if (isOver(live.job)) return;
    const { store, now, keep, onEnd, log } = this.#options;
    const pictures = [...live.job.pictures].sort((a, b) => a.place - b.place);
    live.job = { ...live.job, ...end, pictures, ended: now() };
    live.waiting.length = 0;
    // A full disk must not take the queue down: the job runs again at the next start.
    await store.save(live.job).catch((error: Error) => log(`job ${live.job.id}: ${error.message}`));
    live.told = true;
    this.#tell(live, end);
    this.#live.delete(live.job.id);
    onEnd?.(live.job);
    if (++this.#ended % PRUNE_EVERY === 0) await store.prune(keep);
  }

  #tell(live: Live, change: Pick<Job, "state" | "error">): void {
    live.job = { ...live.job, ...change };
    this.#say(live, { kind: "state", ...change });
  }

  #tellScale(
    live: Live,
    place: number,
    { scale, drawn }: { scale: Extract<FromDrawer, { kind: "scale" }>; drawn: Drawn },
  ): void {
    if (!live.job.request.scales) return;
    const { of, shape } = scale;
    const { png, ids, doubt } = drawn;
    const what = { kind: "scale", place, scale: scale.scale, of, shape, png } as const;
    this.#say(live, { ...what, ids: [...ids], doubt: [...doubt] });
  }

  #say(live: Live, event: JobEvent): void {
    live.events.push(event);
    for (const wake of [...live.listeners]) wake();
  }
}

const PRUNE_EVERY = 100;

const sentence = (error: unknown): string =>
  error instanceof InputError ? error.message : `drawing failed: ${(error as Error).message}`;
