/** Memory for the keys and values of a batch: where a scale reads those before it, and where it writes. Runs no graph. */

import { sizeOf, type Tensor } from "../formats/dtype.ts";
import type { Tensors } from "../tensor/backend.ts";
import type { VarConfig } from "./config.ts";
import { scaleStarts } from "./scales.ts";

/** Names of a block's keys and values: inputs `past.*`, outputs `next.*`. */
export const cacheNames = (block: number): [string, string] => [`k.${block}`, `v.${block}`];

/**
 * Two sets of buffers that change places from scale to scale: one is read while the next is written, and none is made
 * during a run. (A result without a place of its own costs new memory: half as much time again at the last scale.)
 * Has a life: `freeKvCache` gives the memory back at once, not when the collector comes round to it.
 */
export interface KvCache {
  readonly config: VarConfig;
  /** Rows of the batch: all are read and written. */
  readonly rows: number;
  /** First token of each scale, and L at the end. */
  readonly starts: readonly number[];
  /** By name, the even scales' and the odd scales'. */
  readonly buffers: readonly [Buffers, Buffers];
  /** Where the last scale puts its own, which nobody reads: one place for the keys of all blocks, one for the values. */
  readonly spare: readonly [Float32Array, Float32Array];
}
type Buffers = ReadonlyMap<string, Float32Array>;

/**
 * Room for all scales but the last, whose keys and values nobody reads.
 * @param starts for a model that goes in other steps than scales
 */
export function kvCache(
  config: VarConfig,
  rows: number,
  starts: readonly number[] = scaleStarts(config.patchNums),
): KvCache {
  const read = starts.slice(0, -1); // what the scales read
  const buffers = [0, 1].map((parity) => {
    const tokens = Math.max(0, ...read.filter((_, k) => k % 2 === parity));
    const size = sizeOf(shapeOf(config, rows, tokens));
    const names = Array.from({ length: config.depth }, (_, i) => cacheNames(i)).flat();
    return new Map(names.map((name) => [name, freeable(size)]));
  });
  const all = sizeOf(shapeOf(config, rows, starts.at(-1)!));
  const spare = [freeable(all), freeable(all)] as const;
  return { config, rows, starts, buffers: buffers as unknown as [Buffers, Buffers], spare };
}

/** Gives memory back: all, or what a last run at scale k does not read. It can be used no more. */
export function freeKvCache({ buffers, spare }: KvCache, k?: number): void {
  const sets = buffers.filter((_, parity) => k === undefined || parity !== k % 2);
  const all = [...sets.flatMap((set) => [...set.values()]), ...(k === undefined ? spare : [])];
  for (const { buffer } of all)
    if ((buffer as Resizable).resizable) (buffer as Resizable).resize!(0);
}

/**
 * Lends one batch's memory to the next: getting and freeing that of a d16 picture takes 30 ms. A model that must be small
 * keeps nothing between pictures.
 */
export interface KvLender {
  readonly keeps: boolean;
  kept?: KvCache;
}

export interface KvLoan {
  readonly cache: KvCache;
  /** Of use no more but for a last run at scale k: frees what that does not read, unless it is kept. */
  spare(k: number): void;
  /** Given back: to be called at the end, and harmless after it. */
  end(): void;
}

export function lendKvCache(lender: KvLender, config: VarConfig, rows: number): KvLoan {
  const { keeps, kept } = lender;
  lender.kept = undefined;
  if (kept && kept.rows !== rows) freeKvCache(kept);
  const cache = kept?.rows === rows ? kept : kvCache(config, rows);
  let isLent = true;
  return {
    cache,
    spare(k) {
      if (!keeps) freeKvCache(cache, k);
    },
    end() {
      if (!isLent) return;
      isLent = false;
      if (keeps && !lender.kept) lender.kept = cache;
      else freeKvCache(cache);
    },
  };
}

/** A buffer of ES2024, where the engine has them: memory leaves it without waiting for the collector. */
type Resizable = ArrayBuffer & { readonly resizable?: boolean; resize?(bytes: number): void };
const ResizableBuffer = ArrayBuffer as unknown as new (
  bytes: number,
  options: { maxByteLength: number },
) => Resizable;

function freeable(size: number): Float32Array {
  const bytes = size * Float32Array.BYTES_PER_ELEMENT;
  return new Float32Array(new ResizableBuffer(bytes, { maxByteLength: bytes }), 0, size);
}

/** `past.*` of scale k: the keys and values of the scales before it, R h P d each; of the first `rows` rows only. */
export const pastOf = (cache: KvCache, k: number, rows = cache.rows): Tensors =>
  views(cache, k, { prefix: "past", rows });

/** `next.*` of scale k: where it writes its own behind those. Rows that are left out once are gone for good. */
export const nextOf = (cache: KvCache, k: number, rows = cache.rows): Tensors =>
  views(cache, k + 1, { prefix: "next", rows });

/**
 * `next.*` of a last scale k. A block makes its keys from what the block before it gave, so that one is done with its own
 * by then: all share one place. Without a place the runtime holds on to all of them: 178 MB a picture of d16.
 */
export function lastOf({ config, starts, spare }: KvCache, k: number, rows: number): Tensors {
  const shape = shapeOf(config, rows, starts[k + 1]!);
  const [keys, values] = spare.map((buffer): Tensor => {
    return { dtype: "float32", shape, data: buffer.subarray(0, sizeOf(shape)) };
  }) as [Tensor, Tensor];
  const pairs = Array.from({ length: config.depth }, (_, i) => {
    const [k, v] = cacheNames(i);
    return { [`next.${k}`]: keys, [`next.${v}`]: values };
  });
  return Object.assign({}, ...pairs);
}

/** What scale k reads, under names that begin so. */
function views(
  { config, starts, buffers }: KvCache,
  k: number,
  { prefix, rows }: { prefix: string; rows: number },
): Tensors {
  const shape = shapeOf(config, rows, starts[k]!);
  const view = ([name, buffer]: [string, Float32Array]): [string, Tensor] => [
    `${prefix}.${name}`,
    { dtype: "float32", shape, data: buffer.subarray(0, sizeOf(shape)) },
  ];
  return Object.fromEntries([...buffers[(k % 2) as 0 | 1]].map(view));
}

const shapeOf = ({ heads, width }: VarConfig, rows: number, tokens: number): number[] => [
  rows,
  heads,
  tokens,
  width / heads,
];
