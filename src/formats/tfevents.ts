/** TensorBoard's event files: records with masked CRC-32C around small messages. Writes them; TensorBoard reads them. */

import { encodeMessage, type MessageOf } from "./protobuf.ts";

// ---- records

/** CRC-32C (Castagnoli, reflected 0x82F63B78) by bytes. */
const TABLE = Uint32Array.from({ length: 256 }, (_, b) => {
  let c = b;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c >>> 0;
});

/** CRC-32C of bytes, unsigned. */
export function crc32c(bytes: Uint8Array): number {
  let c = ~0;
  for (const b of bytes) c = TABLE[(c ^ b) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}

/** Turned and shifted, so that the CRC of bytes that hold CRCs is no constant (TensorFlow's crc32c.h). */
const masked = (bytes: Uint8Array): number => {
  const c = crc32c(bytes);
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
};

/** One record of a TFRecord file: length, its CRC, the data, its CRC; all little-endian. */
export function tfRecord(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 16);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return out;
}

// ---- messages: field numbers of TensorFlow's event.proto and summary.proto

const IMAGE = {
  height: [1, "int"],
  width: [2, "int"],
  /** 3 for RGB. */
  colorspace: [3, "int"],
  /** A PNG file. */
  encoded: [4, "bytes"],
} as const;

const VALUE = {
  tag: [1, "string"],
  simpleValue: [2, "float"],
  image: [4, "message", IMAGE],
} as const;

const EVENT = {
  /** Seconds since 1970. */
  wallTime: [1, "double"],
  step: [2, "int"],
  fileVersion: [3, "string"],
  summary: [5, "message", { values: [1, "messages", VALUE] }],
  /** Status 1 is START: a reader forgets what it has of this step and later. */
  sessionLog: [7, "message", { status: [1, "int"] }],
} as const;

export type TfEvent = MessageOf<typeof EVENT>;

/** An event as a record, to be appended to a file. */
export const tfEvent = (event: TfEvent): Uint8Array => tfRecord(encodeMessage(EVENT, event));

/** What a file begins with. */
export const FILE_VERSION = "brain.Event:2";
/** `sessionLog.status` of a run that goes on at the event's step. */
export const SESSION_START = 1;
