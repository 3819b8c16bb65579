/**
 * Rejection sampling: of more pictures than are wanted, those in which a classifier sees the wanted class most surely
 * (the "-re" rows of VAR's table 1; VQ-VAE-2, Razavi et al. 2019, section 4). Draws nothing itself.
 */

import { InputError } from "../formats/errors.ts";
import type { Network, PictureSet } from "./network.ts";

/** How many candidates are drawn so that `count` are left of a share. @throws InputError unless 0 < share <= 1 */
export function candidates(count: number, share: number): number {
  if (!(share > 0 && share <= 1))
    throw new InputError(`rejection keeps a share of ${share}, want above 0 and at most 1`, {
      share,
    });
  return Math.ceil(count / share - 1e-9); // 3 / 0.3 is a little above 10
}

/**
 * Probability of the wanted class of each picture, by the network's own numbering of classes.
 * @throws InputError when the network is no classifier
 */
export async function classScores(
  pictures: PictureSet,
  classes: readonly number[],
  network: Network,
): Promise<Float64Array> {
  const { probabilities } = await network.look(pictures);
  if (!probabilities)
    throw new InputError(`${network.name} tells no classes; rejection needs a classifier`);
  const { width, data } = probabilities;
  return Float64Array.from(classes, (c, i) => data[i * width + c]!);
}

/**
 * Numbers of the `keep` best pictures, in their order. Each class keeps its share of the candidates (largest
 * remainders), so rejection does not favour classes that are easy to tell. Of equal scores the earlier picture stays.
 * @param scores one per candidate @param classes what each was to show
 */
export function keepBest(
  scores: ArrayLike<number>,
  classes: ArrayLike<number>,
  keep: number,
): number[] {
  const n = scores.length;
  if (classes.length !== n || keep > n)
    throw new RangeError(`keepBest: ${keep} of ${n} scores and ${classes.length} classes`);
  const groups = new Map<number, number[]>();
  for (let i = 0; i < n; i++) {
    const group = groups.get(classes[i]!) ?? [];
    group.push(i);
    groups.set(classes[i]!, group);
  }
  const shares = [...groups.values()].map((members) => {
    const exact = (members.length * keep) / Math.max(1, n);
    return { members, whole: Math.floor(exact), rest: exact - Math.floor(exact) };
  });
  let left = keep - shares.reduce((sum, { whole }) => sum + whole, 0);
  const kept: number[] = [];
  for (const { members, whole } of shares.sort((a, b) => b.rest - a.rest)) {
    const own = whole + (left-- > 0 ? 1 : 0);
    const ranked = members.sort((a, b) => scores[b]! - scores[a]! || a - b);
    kept.push(...ranked.slice(0, own));
  }
  return kept.sort((a, b) => a - b);
}
