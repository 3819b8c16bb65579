/** Pictures while they are drawn and afterwards: every scale of each, as the engine tells them. */

import type { DrawEvent, DrawRequest, Engine } from "../engine/engine.ts";
import type { MapShape } from "./maps.ts";

export interface Scale {
  readonly scale: number;
  readonly shape: MapShape;
  readonly ids: readonly number[];
  readonly doubt: readonly number[];
  /** Address of the picture so far. */
  readonly src: string;
}

export interface Grown {
  readonly place: number;
  readonly scales: readonly Scale[];
  /** Where the picture is finished. */
  readonly done?: {
    readonly job: string;
    readonly index: number;
    readonly label: string;
    readonly width: number;
    readonly height: number;
    readonly png: Blob;
    readonly src: string;
  };
}

export type Progress =
  | { readonly at: "idle" }
  | { readonly at: "loading"; readonly share: number }
  | { readonly at: "queued" }
  | { readonly at: "running"; readonly scale: number; readonly of: number };

/** One request and what came of it. Has a life: `forget` gives its pictures' memory back. */
export class Drawing {
  readonly request: DrawRequest;
  progress = $state.raw<Progress>({ at: "queued" });
  pictures = $state.raw<readonly Grown[]>([]);
  readonly #stop = new AbortController();
  readonly #addresses: string[] = [];

  constructor(request: DrawRequest) {
    this.request = request;
    const count = request.labels?.length ?? request.count ?? 1;
    this.pictures = Array.from({ length: count }, (_, place) => ({ place, scales: [] }));
  }

  /** Draws to the end. @throws what the engine throws; an AbortError after `cancel` */
  async run(engine: Engine): Promise<void> {
    try {
      for await (const event of engine.draw(this.request, { signal: this.#stop.signal })) {
        this.#stop.signal.throwIfAborted();
        this.#take(event);
      }
      this.#stop.signal.throwIfAborted();
    } finally {
      this.progress = { at: "idle" };
    }
  }

  cancel(): void {
    this.#stop.abort();
  }

  get busy(): boolean {
    return this.progress.at !== "idle";
  }

  forget(): void {
    this.cancel();
    for (const address of this.#addresses) URL.revokeObjectURL(address);
  }

  #take(event: DrawEvent): void {
    if (event.kind === "loading") this.progress = { at: "loading", share: event.share };
    else if (event.kind === "state") {
      if (event.state === "queued") this.progress = { at: "queued" };
    } else if (event.kind === "scale") {
      const { place, scale, of, shape, ids, doubt, png } = event;
      this.progress = { at: "running", scale: scale + 1, of };
      const src = this.#address(png);
      this.#change(place, (one) => ({
        ...one,
        scales: [...one.scales.filter((s) => s.scale !== scale), { scale, shape, ids, doubt, src }],
      }));
    } else {
      const { place, job, index, label, width, height, png } = event;
      const src = this.#address(png);
      this.#change(place, (one) => ({
        ...one,
        done: { job, index, label, width, height, png, src },
      }));
    }
  }

  #address(png: Blob): string {
    const address = URL.createObjectURL(png);
    this.#addresses.push(address);
    return address;
  }

  #change(place: number, change: (one: Grown) => Grown): void {
    this.pictures = this.pictures.map((one) => (one.place === place ? change(one) : one));
  }
}

/** Mean of the doubts of a scale; undefined where nothing was drawn. */
export const meanDoubt = ({ doubt }: Pick<Scale, "doubt">): number | undefined =>
  doubt.length === 0 ? undefined : doubt.reduce((sum, x) => sum + x, 0) / doubt.length;

export const share = (value: number): string => `${Math.round(100 * value)} %`;
