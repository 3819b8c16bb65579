/** The chain of states: what an update starts from must be what the one before left. Fingerprints only, no copies. */

import type { TensorMap } from "../../formats/dtype.ts";
import { createSketcher, type Hash, SKETCH, type Sketcher, sortedNames } from "../state/index.ts";
import { secretStream } from "./secret.ts";

export interface ChainOptions {
  readonly secret: Uint8Array;
  /** Bytes looked at on each side of a gap. States up to this size are covered whole. Default 8 MiB. */
  readonly budget?: number;
  /** SHA-256, by default ours. */
  readonly hash?: Hash;
}

/** A run of bytes of one tensor. */
interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Spans of a large state are this long, in bytes. */
const SPAN = 65_536;

export interface Chain {
  /** Remembers the state that an update left. `position`: what is no tensor, as JSON. */
  left(step: number, tensors: TensorMap, position?: string): void;
  /** Names what changed since `left`; undefined where nothing did, or nothing is remembered. */
  changed(tensors: TensorMap, position?: string): string | undefined;
  /** Share of a state's bytes that each gap's check covers. */
  coverage(tensors: TensorMap): number;
}

/** A chain over the gaps between updates; of large states a fresh secret choice of spans is looked at in every gap. */
export function createChain({ secret, budget = 8 * 2 ** 20, hash }: ChainOptions): Chain {
  const sketcher = createSketcher(secret, hash);
  let seen: { spans: Span[]; sketches: Uint8Array; position?: string } | undefined;
  return {
    left(step, tensors, position) {
      const spans = chooseSpans(tensors, { secret, budget, step });
      seen = { spans, sketches: sketchesOf(spans, tensors, sketcher), position };
    },
    changed(tensors, position) {
      if (!seen) return undefined;
      const { spans, sketches } = seen;
      const now = sketchesOf(spans, tensors, sketcher);
      const at = now.findIndex((byte, i) => byte !== sketches[i]);
      if (at >= 0) return spans[Math.floor(at / SKETCH)]!.name;
      return position === seen.position ? undefined : "position";
    },
    coverage: (tensors) => Math.min(1, budget / bytesOf(tensors)),
  };
}

const bytesOf = (tensors: TensorMap): number =>
  [...tensors.values()].reduce((n, t) => n + t.data.byteLength, 0);

function chooseSpans(
  tensors: TensorMap,
  { secret, budget, step }: { secret: Uint8Array; budget: number; step: number },
): Span[] {
  const all = sortedNames(tensors).flatMap((name): Span[] => {
    const bytes = tensors.get(name)!.data.byteLength;
    return Array.from({ length: Math.max(1, Math.ceil(bytes / SPAN)) }, (_, i) => ({
      name,
      from: i * SPAN,
      to: Math.min(bytes, (i + 1) * SPAN),
    }));
  });
  if (bytesOf(tensors) <= budget) return all;
  const stream = secretStream(secret, "chain spans", step);
  const chosen = new Set<Span>();
  for (let bytes = 0; bytes < budget; ) {
    const span = all[stream.below(all.length)]!;
    if (!chosen.has(span)) bytes += span.to - span.from;
    chosen.add(span);
  }
  return [...chosen];
}

/** Sketches of all spans, one after the other; of a tensor that is gone or shorter, zeros. */
function sketchesOf(spans: readonly Span[], tensors: TensorMap, sketcher: Sketcher): Uint8Array {
  const all = new Uint8Array(spans.length * SKETCH);
  for (const [i, { name, from, to }] of spans.entries()) {
    const data = tensors.get(name)?.data;
    if (!data || data.byteLength < to) continue;
    const bytes = new Uint8Array(data.buffer, data.byteOffset + from, to - from);
    all.set(sketcher.tensor({ dtype: "uint8", shape: [bytes.length], data: bytes }), i * SKETCH);
  }
  return all;
}
