/** Optimizers as graph builders: gradients in, new parameters and new state out, in the same graph as the loss. */

import type { Tensor } from "../formats/dtype.ts";
import { type Graph, input, type Value, withScope } from "../tensor/graph.ts";
import {
  add,
  div,
  matmul,
  minimum,
  mul,
  reshape,
  sqrt,
  square,
  sub,
  sumSquares,
} from "../tensor/ops.ts";
import { elements, staticShape } from "../tensor/shape.ts";

/** A parameter with its gradient. */
export interface Trained {
  readonly name: string;
  readonly value: Value;
  readonly gradient: Value;
  /** Whether weight decay applies. */
  readonly decay: boolean;
}

/** New value of a tensor that is kept from step to step. */
export interface Kept {
  readonly name: string;
  readonly shape: readonly number[];
  readonly next: Value;
}

export interface Update {
  readonly params: readonly Kept[];
  /** Moments and the like; they start as zeros. */
  readonly state: readonly Kept[];
}

/** What changes from step to step. */
export interface Pace {
  /** Count of this update, from 1. */
  readonly step: number;
  readonly lr: number;
  readonly weightDecay: number;
}

export interface Optimizer {
  /** Appends the update of all parameters. */
  apply(g: Graph, params: readonly Trained[]): Update;
  /** The scalars that `apply` asked the graph for. */
  feeds(pace: Pace): Record<string, Tensor>;
  /** What is built into the graph, under the names of `feeds`: betas and the like. */
  readonly constants: Readonly<Record<string, number>>;
}

const number = (x: number): Tensor => ({ dtype: "float32", shape: [], data: Float32Array.of(x) });
const keep = (name: string, value: Value, next: Value): Kept => ({
  name,
  shape: staticShape(value.shape, name),
  next,
});
const moment = (g: Graph, kind: string, { name, value }: Trained): Value =>
  input(g, `${kind}.${name}`, value.shape);

export interface AdamWOptions {
  /** Decay of the mean and of the square of the gradient. */
  betas?: readonly [number, number];
  eps?: number;
  /** First part of the names of its inputs and moments: two optimizers in one graph differ in it. Default "adamw". */
  name?: string;
}

/**
 * AdamW with decoupled decay (Loshchilov & Hutter 2019, alg. 2). Differs: the moments are kept without their factors
 * (1 − β), which saves two passes over every parameter; the bias corrections arrive as scalars.
 */
export function adamw({
  betas: [b1, b2] = [0.9, 0.95],
  eps = 1e-8,
  name: own = "adamw",
}: AdamWOptions = {}): Optimizer {
  return {
    constants: { [`${own}.beta1`]: b1, [`${own}.beta2`]: b2, [`${own}.eps`]: eps },
    apply(g, params) {
      const [rate, floor, shrink] = ["rate", "floor", "shrink"].map((name) =>
        input(g, `${own}.${name}`, []),
      ) as [Value, Value, Value];
      const out = { params: [] as Kept[], state: [] as Kept[] };
      for (const p of params)
        withScope(g, p.name, () => {
          const [m, v] = [moment(g, `${own}.m`, p), moment(g, `${own}.v`, p)];
          const nextM = add(mul(m, b1), p.gradient);
          const nextV = add(mul(v, b2), square(p.gradient));
          const move = mul(div(nextM, add(sqrt(nextV), floor)), rate);
          out.params.push(
            keep(p.name, p.value, sub(p.decay ? mul(p.value, shrink) : p.value, move)),
          );
          out.state.push(
            keep(`${own}.m.${p.name}`, m, nextM),
            keep(`${own}.v.${p.name}`, v, nextV),
          );
        });
      return out;
    },
    feeds({ step, lr, weightDecay }) {
      // lr·m̂/(√v̂ + ε) with m̂ = M(1−β₁)/(1−β₁ᵗ), v̂ = S(1−β₂)/(1−β₂ᵗ) = rate·M/(√S + floor)
      const mean = (1 - b1) / (1 - b1 ** step);
      const root = Math.sqrt((1 - b2) / (1 - b2 ** step));
      return {
        [`${own}.rate`]: number((lr * mean) / root),
        [`${own}.floor`]: number(eps / root),
        [`${own}.shrink`]: number(1 - lr * weightDecay),
      };
    },
  };
}

export interface SgdOptions {
  momentum?: number;
  nesterov?: boolean;
}

/** Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch states it) and decoupled decay. */
export function sgd({ momentum = 0, nesterov = false }: SgdOptions = {}): Optimizer {
  return {
    constants: { "sgd.momentum": momentum, "sgd.nesterov": Number(nesterov) },
    apply(g, params) {
      const [rate, shrink] = [input(g, "sgd.rate", []), input(g, "sgd.shrink", [])];
      const out = { params: [] as Kept[], state: [] as Kept[] };
      for (const p of params)
        withScope(g, p.name, () => {
          let direction = p.gradient;
          if (momentum) {
            const m = moment(g, "sgd.m", p);
            const next = add(mul(m, momentum), p.gradient);
            out.state.push(keep(`sgd.m.${p.name}`, m, next));
            direction = nesterov ? add(p.gradient, mul(next, momentum)) : next;
          }
          const from = p.decay ? mul(p.value, shrink) : p.value;
          out.params.push(keep(p.name, p.value, sub(from, mul(direction, rate))));
        });
      return out;
    },
    feeds: ({ lr, weightDecay }) => ({
      "sgd.rate": number(lr),
      "sgd.shrink": number(1 - lr * weightDecay),
    }),
  };
}

export interface MuonOptions {
  momentum?: number;
  /** Newton-Schulz iterations. */
  steps?: number;
  /** For parameters that are not matrices. */
  adamw?: AdamWOptions;
  /** Learning rate of those, as a multiple of the matrices' own. */
  adamwScale?: number;
}

/** Quintic Newton-Schulz coefficients of Muon: they drive singular values into about [0.7, 1.2]. */
const NS = [3.4445, -4.775, 2.0315] as const;

/** The nearest semi-orthogonal matrix, approximately. O I -> O I. */
function orthogonalize(x: Value, steps: number): Value {
  const [rows, columns] = x.shape as [number, number];
  const wide = rows <= columns;
  let y = div(x, add(sqrt(sumSquares(x)), 1e-7));
  for (let i = 0; i < steps; i++) {
    const gram = matmul(y, y, wide ? { transB: true } : { transA: true }); // of the shorter side
    const poly = add(mul(gram, NS[1]), mul(matmul(gram, gram), NS[2]));
    y = add(mul(y, NS[0]), wide ? matmul(poly, y) : matmul(y, poly));
  }
  return y;
}

/**
 * Muon (Jordan et al. 2024): momentum whose matrices are orthogonalised before they are applied, scaled by
 * √max(1, rows/columns). Convolutions count as matrices (out, rest). Everything else goes to AdamW.
 */
export function muon(options: MuonOptions = {}): Optimizer {
  const { momentum = 0.95, steps = 5, adamw: adam = {}, adamwScale = 0.1 } = options;
  const rest = adamw(adam);
  return {
    constants: { ...rest.constants, "muon.momentum": momentum, "muon.steps": steps },
    apply(g, params) {
      const isMatrix = (p: Trained) => p.value.shape.length >= 2 && p.decay;
      const others = rest.apply(
        g,
        params.filter((p) => !isMatrix(p)),
      );
      const [rate, shrink] = [input(g, "muon.rate", []), input(g, "muon.shrink", [])];
      const out = { params: [...others.params], state: [...others.state] };
      for (const p of params.filter(isMatrix))
        withScope(g, p.name, () => {
          const shape = staticShape(p.value.shape, p.name);
          const [rows, columns] = [shape[0]!, elements(shape.slice(1))];
          const m = moment(g, "muon.m", p);
          const next = add(mul(m, momentum), p.gradient);
          const nesterov = reshape(add(p.gradient, mul(next, momentum)), [rows, columns]);
          const scale = Math.sqrt(Math.max(1, rows / columns));
          const move = reshape(mul(orthogonalize(nesterov, steps), mul(rate, scale)), shape);
          out.params.push(keep(p.name, p.value, sub(mul(p.value, shrink), move)));
          out.state.push(keep(`muon.m.${p.name}`, m, next));
        });
      return out;
    },
    feeds: (pace) => ({
      ...rest.feeds({ ...pace, lr: pace.lr * adamwScale }),
      "muon.rate": number(pace.lr),
      "muon.shrink": number(1 - pace.lr * pace.weightDecay),
    }),
  };
}

/**
 * Scales all gradients so that their joint norm is at most `limit` (Pascanu et al. 2013), as PyTorch's
 * clip_grad_norm_ does; returns them and the norm before.
 */
export function clipByGlobalNorm(
  gradients: readonly Value[],
  limit: number,
): { clipped: Value[]; norm: Value } {
  const squares = gradients.map((g) => reshape(sumSquares(g), []));
  const norm = sqrt(squares.reduce(add));
  const factor = minimum(div(limit, add(norm, 1e-6)), 1);
  return { clipped: gradients.map((g) => mul(g, factor)), norm };
}
