/** The root over what an update read: which pictures, and the very tensors the graph was fed. */

import { type Hash, stateRoot } from "../guard/state/index.ts";
import type { BatchSeen } from "./watch.ts";

/** Hexadecimal. Contents, labels and masks count, and the order of the pictures. */
export function batchRootOf({ epoch, indices, feeds }: BatchSeen, hash: Hash): string {
  const tensors = feeds.flatMap((part, i) =>
    Object.entries(part).map(([name, tensor]) => [`${i}.${name}`, tensor] as const),
  );
  const position = { epoch, indices: Array.from(indices) };
  return stateRoot({ tensors: new Map(tensors), position }, hash);
}
