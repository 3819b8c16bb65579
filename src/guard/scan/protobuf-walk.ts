/** Walks protobuf messages by range, without a schema and without holding them. The reader of whole messages is in formats/. */

import { type ByteSource, InputError } from "./bytes.ts";

/** One field: its number, and where its content lies, or its number value. */
export interface Field {
  readonly no: number;
  readonly wire: number;
  readonly at: number;
  /** Bytes of the content; 0 for numbers. */
  readonly length: number;
  readonly value: number;
}

const WINDOW = 1 << 18;

/** Reads single bytes of a source through one window. */
export class Bytes {
  #window: Uint8Array = new Uint8Array(0);
  #base = 0;
  constructor(readonly source: ByteSource) {}

  async range(at: number, length: number): Promise<Uint8Array> {
    const from = at - this.#base;
    if (from >= 0 && from + length <= this.#window.length)
      return this.#window.subarray(from, from + length);
    this.#base = at;
    this.#window = await this.source.read(
      at,
      Math.min(Math.max(length, WINDOW), this.source.size - at),
    );
    return this.#window.subarray(0, length);
  }
}

/** The fields of the message in [at, end). @throws InputError where it is none */
export async function* fields(bytes: Bytes, from: number, end: number): AsyncGenerator<Field> {
  let at = from;
  const fail = (why: string): never => {
    throw new InputError(`protobuf: ${why} at byte ${at}`, { at });
  };
  const varint = async (): Promise<number> => {
    const raw = await bytes.range(at, Math.min(10, end - at));
    let value = 0;
    for (let i = 0; i < raw.length; i++) {
      value += (raw[i]! & 127) * 2 ** (7 * i);
      if (raw[i]! < 128) {
        at += i + 1;
        return value;
      }
    }
    return fail("a number does not end");
  };
  while (at < end) {
    const tag = await varint();
    const [no, wire] = [Math.floor(tag / 8), tag % 8];
    if (no < 1 || no > 2 ** 29) fail(`the field number ${no}`);
    if (wire === 0) yield { no, wire, at, length: 0, value: await varint() };
    else if (wire === 2) {
      const length = await varint();
      if (length > end - at) fail(`a field of ${length} bytes, ${end - at} are left`);
      yield { no, wire, at, length, value: 0 };
      at += length;
    } else if (wire === 1 || wire === 5) {
      const length = wire === 1 ? 8 : 4;
      if (length > end - at) fail("a number is cut off");
      yield { no, wire, at, length, value: 0 };
      at += length;
    } else fail(`wire type ${wire}`);
  }
}
