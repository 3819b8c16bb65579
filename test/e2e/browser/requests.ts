/** Requests to draw, and what is told of them, as plain data that travels into a page and back. Draws nothing. */

import type { DrawRequest } from "../../../src/client.ts";
import { decodePng } from "../../../src/formats/png.ts";
import type { DrawEvent } from "../../../src/web/protocol.ts";

/** A request whose pictures are plain numbers. */
export interface Asked extends Omit<DrawRequest, "image" | "mask" | "other"> {
  readonly image?: readonly number[];
  readonly mask?: readonly number[];
  readonly other?: readonly number[];
}

export const requestOf = ({ image, mask, other, ...rest }: Asked): DrawRequest => ({
  ...rest,
  ...(image && { image: Uint8Array.from(image) }),
  ...(mask && { mask: Uint8Array.from(mask) }),
  ...(other && { other: Uint8Array.from(other) }),
});

export interface Told {
  /** Tokens by "place/scale". */
  readonly ids: Record<string, number[]>;
  readonly pictures: {
    readonly label: string;
    readonly pixels: number[];
    readonly note: unknown;
  }[];
}

export async function collect(
  events: AsyncIterable<Pick<DrawEvent, "kind"> & Partial<DrawEvent>>,
): Promise<Told> {
  const told: Told = { ids: {}, pictures: [] };
  for await (const any of events) {
    const event = any as DrawEvent;
    if (event.kind === "scale") {
      told.ids[`${event.place}/${event.scale}`] = [...event.ids];
      continue;
    }
    const { data, text } = await decodePng(event.png);
    const note: unknown = JSON.parse(text.underpaint!);
    told.pictures.push({ label: event.label, pixels: [...data], note });
  }
  return told;
}
