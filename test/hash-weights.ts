/** The weights of the golden fixtures, made again from their recipes (*.weights.json). Loads no checkpoint. */

/** A recipe: one entry per tensor, in the order of the checkpoint. */
export interface HashRecipe {
  seed: number;
  tensors: {
    t: number;
    name: string;
    shape: number[];
    kind: "u" | "q" | "t";
    a: number;
    b: number;
  }[];
}

/** What becomes of a number u in [0, 1). */
const KINDS = {
  u: (u: number, a: number, b: number) => (u - 0.5) * a + b,
  q: (u: number, a: number, b: number) => (Math.floor(u * 256) / 256 - 0.5) * a + b,
  t: (u: number, a: number) => (u < 0.05 ? -1 : u < 0.95 ? 0 : 1) * a,
};

/** Element i of a tensor: a portable hash of its place, float64 arithmetic, one rounding to float32. */
export function hashedValue(
  { t, kind, a, b }: HashRecipe["tensors"][number],
  seed: number,
  i: number,
): number {
  let x = (i + Math.imul(t, 0x9e3779b1) + Math.imul(seed, 0x85ebca6b)) | 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x21f0aaad);
  x ^= x >>> 15;
  x = Math.imul(x, 0x735a2d97);
  x ^= x >>> 15;
  return Math.fround(KINDS[kind]((x >>> 8) / 2 ** 24, a, b));
}

/** All elements of a tensor of a recipe. */
export function hashedTensor(spec: HashRecipe["tensors"][number], seed: number): Float32Array {
  const data = new Float32Array(spec.shape.reduce((n, d) => n * d, 1));
  for (let i = 0; i < data.length; i++) data[i] = hashedValue(spec, seed, i);
  return data;
}
