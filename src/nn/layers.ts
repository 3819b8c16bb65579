/** Layers as functions of a value and its weights, under PyTorch's parameter names. Layouts are the models' own. */

import { type Value, withScope } from "../tensor/graph.ts";
import { type ConvOptions, conv2d, groupNorm, linear as matrixProduct } from "../tensor/ops.ts";
import { type Bind, under } from "./bind.ts";

/** Runs a layer inside a scope and with weights under the same name. */
export const inScope = <T>(x: Value, p: Bind, name: string, body: (p: Bind) => T): T =>
  withScope(x.graph, name, () => body(under(p, name)));

/** y = x·Wᵀ + b. x (..., in) -> (..., out). */
export const linear = (x: Value, p: Bind): Value => matrixProduct(x, p("weight"), p("bias"));

/** 2-D convolution with bias. x B C H W. */
export const conv = (x: Value, p: Bind, options: ConvOptions = {}): Value =>
  conv2d(x, p("weight"), { ...options, bias: p("bias") });

/** GroupNorm with a weight and a bias per channel. x B C H W. */
export const norm = (x: Value, p: Bind, groups: number): Value =>
  groupNorm(x, { weight: p("weight"), bias: p("bias"), groups, eps: 1e-6 });
