/** A picture on its way through the tokenizer in the page, scale by scale. Draws no page. */

import type { UnfoldedScale } from "../../../src/web/index.ts";
import type { PageModel } from "../engine/engine.ts";
import { pageModel } from "../engine/page.ts";

/** One scale, ready to be shown. */
export interface Shown extends Omit<UnfoldedScale, "png"> {
  /** Address of the decoded picture. */
  readonly src: string;
}

/** Has a life: forget it. */
export class Unfolding {
  scales = $state.raw<readonly Shown[]>([]);
  /** Share of the model that is here; undefined once it is. */
  loading = $state<number>();
  busy = $state(false);
  original = $state<string>();
  readonly #stop = new AbortController();

  /** @throws the sentence of what is wrong with the picture or the model */
  async run(model: PageModel, image: Blob): Promise<void> {
    const { signal } = this.#stop;
    this.busy = true;
    this.original = URL.createObjectURL(image);
    try {
      const web = pageModel(model);
      for await (const { bytes } of web.loading()) {
        if (signal.aborted) return;
        this.loading = Math.min(1, bytes / model.bytes);
      }
      this.loading = undefined;
      const bytes = new Uint8Array(await image.arrayBuffer());
      for await (const { png, ...scale } of web.unfold(bytes, { signal })) {
        const src = URL.createObjectURL(new Blob([png as BlobPart], { type: "image/png" }));
        this.scales = [...this.scales, { ...scale, src }];
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.busy = false;
      this.loading = undefined;
    }
  }

  forget(): void {
    this.#stop.abort();
    for (const { src } of this.scales) URL.revokeObjectURL(src);
    if (this.original) URL.revokeObjectURL(this.original);
    this.scales = [];
  }
}
