/** The reference backend's table: one plain loop per op. */

import { elementwise } from "./elementwise.ts";
import type { Kernel } from "./kernel.ts";
import { movement } from "./movement.ts";
import { products } from "./products.ts";
import { quantized } from "./quantized.ts";
import { reductions } from "./reductions.ts";

export const kernels: Readonly<Record<string, Kernel>> = {
  ...elementwise,
  ...movement,
  ...reductions,
  ...products,
  ...quantized,
};
