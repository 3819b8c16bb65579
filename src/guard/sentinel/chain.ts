/** The chain of states: what an update starts from must be what the one before left. Fingerprints only, no copies. */

import type { TensorMap } from "../../formats/dtype.ts";
import { type DigestKey, digest, digestKey, wordsOf } from "./digest.ts";
import { secretStream } from "./secret.ts";

export interface ChainOptions {
  readonly secret: Uint8Array;
  /** Bytes looked at on each side of a gap. States up to this size are covered whole. Default 8 MiB. */
  readonly budget?: number;
}

/** A run of words of one tensor. */
interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Spans of a large state are this long, in words: 64 KiB. */
const SPAN = 16_384;

export interface Chain {
  /** Remembers the state that an update left. `position`: what is no tensor, as JSON. */
  left(step: number, tensors: TensorMap, position?: string): void;
  /** Names what changed since `left`; undefined where nothing did, or nothing is remembered. */
  changed(tensors: TensorMap, position?: string): string | undefined;
  /** Share of a state's bytes that each gap's check covers. */
  coverage(tensors: TensorMap): number;
}

/** A chain over the gaps between updates; of large states a fresh secret choice of spans is looked at in every gap. */
export function createChain({ secret, budget = 8 * 2 ** 20 }: ChainOptions): Chain {
  const key = digestKey(secretStream(secret, "chain key"));
  let seen: { spans: Span[]; digests: number[]; position?: string } | undefined;
  return {
    left(step, tensors, position) {
      const spans = chooseSpans(tensors, { secret, budget, step });
      seen = { spans, digests: digestsOf(spans, tensors, key), position };
    },
    changed(tensors, position) {
      if (!seen) return undefined;
      const { spans, digests } = seen;
      const now = digestsOf(spans, tensors, key);
      const at = now.findIndex((d, i) => d !== digests[i]);
      if (at >= 0) return spans[at]!.name;
      return position === seen.position ? undefined : "position";
    },
    coverage: (tensors) => Math.min(1, budget / (4 * wordCount(tensors))),
  };
}

const wordCount = (tensors: TensorMap): number =>
  [...tensors.values()].reduce((n, t) => n + Math.ceil(t.data.byteLength / 4), 0);

function chooseSpans(
  tensors: TensorMap,
  { secret, budget, step }: { secret: Uint8Array; budget: number; step: number },
): Span[] {
  const all = [...tensors].flatMap(([name, t]): Span[] => {
    const words = Math.ceil(t.data.byteLength / 4);
    if (4 * words <= SPAN * 4) return [{ name, from: 0, to: words }];
    return Array.from({ length: Math.ceil(words / SPAN) }, (_, i) => ({
      name,
      from: i * SPAN,
      to: Math.min(words, (i + 1) * SPAN),
    }));
  });
  if (4 * wordCount(tensors) <= budget) return all;
  const stream = secretStream(secret, "chain spans", step);
  const chosen = new Set<Span>();
  for (let bytes = 0; bytes < budget; ) {
    const span = all[stream.below(all.length)]!;
    if (!chosen.has(span)) bytes += 4 * (span.to - span.from);
    chosen.add(span);
  }
  return [...chosen];
}

const digestsOf = (spans: readonly Span[], tensors: TensorMap, key: DigestKey): number[] =>
  spans.map(({ name, from, to }) => {
    const tensor = tensors.get(name);
    // A tensor that is gone, or shorter, has changed.
    const words = tensor ? wordsOf(tensor) : new Uint32Array(0);
    return words.length < to ? Number.NaN : digest(words, key, from, to);
  });
