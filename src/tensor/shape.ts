/** Shapes with numbers and names for dimensions, and how they broadcast. Knows nothing of graphs. */

/** A dimension: a size known when the graph is built, or a name that is bound when it runs. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** A graph was built with shapes that do not fit. Says what, got, wanted, do; carries the shapes. */
export class ShapeError extends Error {
  override readonly name = "ShapeError";
  constructor(
    message: string,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

export const formatShape = (shape: Shape): string => `[${shape.join(", ")}]`;

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

/** The shape as plain numbers. Throws ShapeError when a dimension is only a name. */
export function staticShape(shape: Shape, what: string): number[] {
  return shape.map((d) => {
    if (typeof d === "number") return d;
    throw new ShapeError(
      `${what}: dimension "${d}" of ${formatShape(shape)} is only known at run time; build this graph with numbers`,
      { shape },
    );
  });
}

/** Number of elements of a static shape. */
export const elements = (shape: Shape, what = "size"): number =>
  staticShape(shape, what).reduce((n, d) => n * d, 1);

/** Index of an axis that may count from the end. */
export function axisOf(axis: number, rank: number, what: string): number {
  const i = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(i) || i < 0 || i >= rank)
    throw new ShapeError(`${what}: axis ${axis} is outside a rank of ${rank}`, { axis, rank });
  return i;
}

/** NumPy broadcasting; a named dimension meets only itself or 1. */
export function broadcastShapes(a: Shape, b: Shape, what: string): Dim[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x === y || y === 1) return x;
    if (x === 1) return y;
    throw new ShapeError(
      `${what}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast (${x} against ${y}); reshape one of them`,
      { a, b },
    );
  });
}

/** Row-major strides of a static shape, in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}
