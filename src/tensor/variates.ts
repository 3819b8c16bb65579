/**
 * From 32 random bits to a normal or exponential variate, the same bits on every JavaScript engine. Draws nothing.
 *
 * ECMAScript lets Math.log, cos, exp differ by an ulp between engines; only + - * / and sqrt are exact (IEEE 754).
 * So the logarithm is our own series and the normal comes from a rational inverse CDF: both use nothing else.
 */

const CELL = 1 / 4294967296; // not 2 ** -32: the power operator is not exact by the letter either
const bits = new DataView(new ArrayBuffer(8));

/**
 * Natural logarithm of a positive, finite, normal double, within 4 ulp of the true value.
 * x = 2^e m with m in (1/sqrt 2, sqrt 2]; ln m = 2 artanh(s), s = (m-1)/(m+1), |s| < 0.172, eleven odd terms.
 */
export function ln(x: number): number {
  bits.setFloat64(0, x);
  const high = bits.getUint32(0);
  let e = (high >>> 20) - 1023;
  bits.setUint32(0, (high & 0xfffff) | 0x3ff00000);
  let m = bits.getFloat64(0); // [1, 2)
  if (m > Math.SQRT2) {
    m *= 0.5;
    e += 1;
  }
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let sum = 1 / 21;
  for (let odd = 19; odd >= 1; odd -= 2) sum = sum * z + 1 / odd;
  return e * Math.LN2 + 2 * s * sum;
}

// AS 241's coefficients, highest power first, each the double nearest to the printed decimal.
const CENTRE_TOP = Float64Array.of(
  2509.0809287301227,
  33430.57558358813,
  67265.7709270087,
  45921.95393154987,
  13731.69376550946,
  1971.5909503065513,
  133.14166789178438,
  3.3871328727963665,
);
const CENTRE_BOTTOM = Float64Array.of(
  5226.495278852854,
  28729.085735721943,
  39307.89580009271,
  21213.794301586597,
  5394.196021424751,
  687.1870074920579,
  42.31333070160091,
  1,
);
const TAIL_TOP = Float64Array.of(
  0.0007745450142783414,
  0.022723844989269184,
  0.2417807251774506,
  1.2704582524523684,
  3.6478483247632045,
  5.769497221460691,
  4.630337846156546,
  1.4234371107496835,
);
const TAIL_BOTTOM = Float64Array.of(
  1.0507500716444169e-9,
  0.0005475938084995345,
  0.015198666563616457,
  0.14810397642748008,
  0.6897673349851,
  1.6763848301838038,
  2.053191626637759,
  1,
);

/** Polynomial of degree seven, unrolled: ten million draws a second pass here. */
const horner = (c: Float64Array, x: number): number =>
  ((((((c[0]! * x + c[1]!) * x + c[2]!) * x + c[3]!) * x + c[4]!) * x + c[5]!) * x + c[6]!) * x +
  c[7]!;

/** The middle of the word's cell in (0, 1): never 0, never 1, symmetric about 1/2. */
export const openUnit = (word: number): number => (word + 0.5) * CELL;

/** Exp(1) from one word: -ln u. Between 1e-10 and 22.9. */
export const exponential = (word: number): number => -ln(openUnit(word));

/** Standard Gumbel from one word: -ln(-ln u). */
export const gumbel = (word: number): number => -ln(exponential(word));

/**
 * Standard normal from one word: inverse CDF, Wichura's AS 241 (PPND16, relative error about 1e-16). Within 6.4 sigma.
 * M. J. Wichura: "The Percentage Points of the Normal Distribution", Applied Statistics 37 (1988) 477-484.
 */
export function normal(word: number): number {
  const q = (word - 2147483647.5) * CELL; // u - 1/2, exact
  if (q <= 0.425 && q >= -0.425) {
    const r = 0.180625 - q * q;
    return (q * horner(CENTRE_TOP, r)) / horner(CENTRE_BOTTOM, r);
  }
  // The least tail is 2^-33, so r < 4.79: the third branch of AS 241 (r > 5) is out of reach.
  const r = Math.sqrt(-ln(q < 0 ? 0.5 + q : 0.5 - q)) - 1.6;
  const z = horner(TAIL_TOP, r) / horner(TAIL_BOTTOM, r);
  return q < 0 ? -z : z;
}
