/** Bytes as hexadecimal and strict base64 text, and byte arrays compared and joined. Knows no format that uses them. */

import { concatBytes } from "../../formats/bytes.ts";
import { InputError } from "../../formats/errors.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUE: ReadonlyMap<string, number> = new Map([...ALPHABET].map((c, i) => [c, i]));

/** Standard base64 with padding (RFC 4648, section 4). */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a, b, c] = [bytes[i]!, bytes[i + 1], bytes[i + 2]];
    text += ALPHABET[a >> 2]! + ALPHABET[((a & 3) << 4) | ((b ?? 0) >> 4)]!;
    text += b === undefined ? "=" : ALPHABET[((b & 15) << 2) | ((c ?? 0) >> 6)]!;
    text += c === undefined ? "=" : ALPHABET[c & 63]!;
  }
  return text;
}

/**
 * Reads standard base64 with padding. Strict: no blanks, and the unused bits of the last character are zero, so that one
 * byte string has one text (a signature whose text can be altered and still verifies would be malleable).
 * @param what opens the error sentence. @throws InputError
 */
export function fromBase64(text: string, what = "base64"): Uint8Array {
  const fail = (why: string): never => {
    throw new InputError(`${what}: ${why}; wanted standard base64 with padding`, { what });
  };
  if (text.length % 4 !== 0) fail(`${text.length} characters are no multiple of four`);
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const last = text.length - padding;
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < last; i++) {
    const value = VALUE.get(text[i]!);
    if (value === undefined) return fail(`character ${i} is ${JSON.stringify(text[i])}`);
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[at++] = bits >> held;
    }
  }
  if ((bits & ((1 << held) - 1)) !== 0) fail("its last character has bits set that say nothing");
  return bytes;
}

/** Lower-case hexadecimal. */
export const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

/** Reads lower-case hexadecimal. @param length bytes wanted @throws InputError */
export function fromHex(text: string, what: string, length = text.length / 2): Uint8Array {
  if (text.length !== length * 2 || !/^[0-9a-f]*$/.test(text))
    throw new InputError(
      `${what}: ${JSON.stringify(text.slice(0, 80))} is not ${length} bytes in lower-case hexadecimal`,
      { what },
    );
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(text.slice(i * 2, i * 2 + 2), 16));
}

/** Whether two byte strings are the same. Not in constant time: nothing here is secret. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** One after the other, as one array. */
export const joinBytes = (...parts: readonly Uint8Array[]): Uint8Array => concatBytes(parts);

const ENCODER = new TextEncoder();

/** UTF-8 bytes of a text. */
export const utf8 = (text: string): Uint8Array => ENCODER.encode(text);
