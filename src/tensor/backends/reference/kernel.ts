/** What a reference kernel is, and how it reads its node. No kernel lives here. */

import type { Attrs } from "../../graph.ts";
import type { Arr } from "./array.ts";

export interface KernelContext {
  readonly x: readonly Arr[];
  readonly attrs: Attrs;
  /** How many outputs the node wants. */
  readonly outputs: number;
}

/** From inputs to outputs; results may be off the dtype's grid, the caller rounds. */
export type Kernel = (c: KernelContext) => Arr[];

export const num = (c: KernelContext, name: string, otherwise: number): number =>
  (c.attrs[name] as number | undefined) ?? otherwise;
export const list = (c: KernelContext, name: string, otherwise: readonly number[]) =>
  (c.attrs[name] as readonly number[] | undefined) ?? otherwise;
/** The numbers of an int64 input. */
export const intsOf = (x: Arr | undefined): number[] | undefined => x && Array.from(x.data);
