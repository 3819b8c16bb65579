/** Small helpers over bytes that many scanners share, and the names of formats/ they use. Knows no format. */

export { concatBytes, viewOf } from "../../formats/bytes.ts";
export {
  type ByteSource,
  InputError,
  memorySource,
  type PickleValue,
} from "../../formats/index.ts";

/** Whether `bytes` hold `text` (one byte a character) at `at`. */
export function startsWith(bytes: Uint8Array, text: string, at = 0): boolean {
  if (at < 0 || at + text.length > bytes.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Offset of the next occurrence of up to eight bytes, or -1. */
export function indexOf(bytes: Uint8Array, needle: readonly number[], from = 0): number {
  const [first] = needle;
  for (let at = bytes.indexOf(first!, from); at >= 0; at = bytes.indexOf(first!, at + 1)) {
    let i = 1;
    while (i < needle.length && bytes[at + i] === needle[i]) i++;
    if (i === needle.length) return at;
  }
  return -1;
}

const LOOSE = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8 text; what is none becomes U+FFFD. */
export const looseText = (bytes: Uint8Array): string => LOOSE.decode(bytes);

/** One character a byte. */
export function byteText(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; i += 8192)
    out += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return out;
}
