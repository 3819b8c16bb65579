/** The sampling filters against the reference: top-k, top-p, ties, Gumbel-softmax. */

import { expect, test } from "vitest";
import {
  type FilterOptions,
  filteredProbabilities,
  filterLogits,
  smoothTemperature,
  smoothVectors,
} from "../../src/image/index.ts";
import { score, tinyVqvaeWeights } from "./golden.ts";

const { check, facts, input: given } = score("sampling");
const codes = 64;
const shape = [2, 3, codes];
const floats = (name: string) => (given(name).data as Float32Array).slice();

/** Cases of the fixture by name. */
const CASES: Readonly<Record<string, FilterOptions & { from?: string }>> = {
  k5: { topK: 5 },
  p90: { topP: 0.9 },
  k20p80: { topK: 20, topP: 0.8 },
  k1: { topK: 1 },
  ties_k1: { topK: 1, from: "logits_ties" },
  p100: { topP: 1 },
  k900clip: { topK: 900, topP: 0.96 },
};

test.each(Object.entries(CASES))("filter %s", (name, { from = "logits", ...options }) => {
  check(`filtered.${name}`, {
    dtype: "float32",
    shape,
    data: filterLogits(floats(from), { codes, ...options }),
  });
  const probabilities = filteredProbabilities(floats(from), { codes, ...options });
  check(`probs.${name}`, { dtype: "float32", shape, data: probabilities });
});

test.each([0, 0.5, 1])("Gumbel-softmax at ratio %d", (ratio) => {
  expect(smoothTemperature(ratio)).toBeCloseTo(Number(facts[`tau.${ratio.toFixed(1)}`]), 12);
  const logits = floats("logits");
  const noise = floats("exponential_noise");
  const one = new Float32Array(codes * codes); // a codebook of unit vectors shows the weights themselves
  for (let v = 0; v < codes; v++) one[v * codes + v] = 1;
  const mixed = (codebook: Float32Array) =>
    smoothVectors(logits, { codes, codebook, ratio, noise });
  check(`gumbel.ratio${ratio.toFixed(1)}`, { dtype: "float32", shape, data: mixed(one) });
  const book = tinyVqvaeWeights().get("quantize.embedding.weight")!.data as Float32Array;
  check(`gumbel.emb.ratio${ratio.toFixed(1)}`, {
    dtype: "float32",
    shape: [2, 3, 8],
    data: mixed(book),
  });
});
