/** What evaluation looks through: a network that turns pictures into features. Which ones there are: networks.ts. */

import { type PictureSize, sizeText } from "../formats/picture-size.ts";
import type { Backend, Session } from "../tensor/backend.ts";
import { createGraph, input, output, type Value } from "../tensor/graph.ts";
import { add, mul } from "../tensor/ops.ts";
import type { Rows } from "./products.ts";
import { type ResizeKernel, resizeTo } from "./resize.ts";

/** RGB pictures of one size; a data set is one, so is what `toPictures` gives, joined. */
export interface PictureSet extends PictureSize {
  readonly count: number;
  readonly pixels: Uint8Array; // N H W 3
}

/** What a network says of some pictures. */
export interface Looked {
  /** Of FID, KID, precision and recall: B d. */
  readonly features: Rows;
  /** Of sFID: part of a map that still knows places. Absent where the network shows none. */
  readonly spatial?: Rows;
  /** Of the Inception Score: B classes, each row summing to 1. Absent where the network is no classifier. */
  readonly probabilities?: Rows;
}

/** A network with everything that a number must say about it. Has a life: release it. */
export interface Network {
  readonly name: string;
  /** First 16 hex digits of SHA-256 of its file. */
  readonly hash: string;
  /** Side of the pictures it looks at, pixels. */
  readonly size: number;
  /** How other pictures are brought there. */
  readonly resize: ResizeKernel;
  look(pictures: PictureSet): Promise<Looked>;
  release(): Promise<void>;
}

/** From bytes 0..255 to what a network reads: x · scale + offset. */
export interface Range {
  readonly scale: number;
  readonly offset: number;
}
export const TO_PM1: Range = { scale: 1 / 127.5, offset: -1 };
/** As the 2015 Inception graph: (x - 128) / 128. */
export const TO_PM1_128: Range = { scale: 1 / 128, offset: -1 };

/** Sessions by the size of the pictures: compiled when first needed. */
export function sessionsBySize(compile: (size: PictureSize) => Promise<Session>) {
  const sessions = new Map<string, Promise<Session>>();
  return {
    get(size: PictureSize): Promise<Session> {
      let session = sessions.get(sizeText(size));
      if (!session) {
        session = compile(size);
        sessions.set(sizeText(size), session);
      }
      return session;
    },
    async release(): Promise<void> {
      for (const session of sessions.values()) await (await session).release();
      sessions.clear();
    },
  };
}

/** How a network's pictures are prepared. */
export interface Preparation {
  /** Side of the square that it looks at. */
  readonly size: number;
  readonly resize: ResizeKernel;
  readonly range: Range;
}

/**
 * Compiles a graph that resizes pictures of size `from`, brings them into range and hands them to `build`.
 * Its input is "pixels": B 3 H W of 0..255.
 */
export function compileLook(
  backend: Backend,
  from: PictureSize,
  {
    size,
    resize,
    range,
    build,
  }: Preparation & { build: (images: Value) => Readonly<Record<string, Value>> },
): Promise<Session> {
  const g = createGraph("look");
  const pixels = input(g, "pixels", ["B", 3, from.height, from.width]);
  const images = add(mul(resizeTo(pixels, size, resize), range.scale), range.offset);
  for (const [name, value] of Object.entries(build(images))) output(g, name, value);
  return backend.compile(g);
}

/** Bytes N H W 3 as floats N 3 H W, 0..255. */
export function planes({ count, width, height, pixels }: PictureSet) {
  const data = new Float32Array(pixels.length);
  const plane = width * height;
  for (let i = 0; i < count; i++)
    for (let p = 0; p < plane; p++)
      for (let c = 0; c < 3; c++) data[(i * 3 + c) * plane + p] = pixels[(i * plane + p) * 3 + c]!;
  return { dtype: "float32" as const, shape: [count, 3, height, width], data };
}

/** A result of a session as rows: a copy, as sessions may use their memory again. */
export const asRows = ({
  shape,
  data,
}: {
  shape: readonly number[];
  data: ArrayLike<unknown>;
}): Rows => ({
  count: shape[0]!,
  width: data.length / Math.max(1, shape[0]!),
  data: data instanceof Float32Array ? data.slice() : Float64Array.from(data as Float64Array),
});
