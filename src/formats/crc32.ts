/** CRC-32 as zip and PNG use it (reflected 0xEDB88320). No protection against intent. */

/** Slicing by four: TABLES[k][b] is the CRC of byte b followed by k zero bytes. */
const TABLES: readonly Uint32Array[] = (() => {
  const tables = Array.from({ length: 4 }, () => new Uint32Array(256));
  for (let b = 0; b < 256; b++) {
    let c = b;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    tables[0]![b] = c;
  }
  for (let k = 1; k < 4; k++)
    for (let b = 0; b < 256; b++) {
      const c = tables[k - 1]![b]!;
      tables[k]![b] = (c >>> 8) ^ tables[0]![c & 255]!;
    }
  return tables;
})();

/** CRC-32 of bytes, unsigned; `seed` is the CRC of what came before. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  const [t0, t1, t2, t3] = TABLES as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let c = ~seed;
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    c = t3[c & 255]! ^ t2[(c >>> 8) & 255]! ^ t1[(c >>> 16) & 255]! ^ t0[c >>> 24]!;
  }
  for (; i < bytes.length; i++) c = t0[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}
