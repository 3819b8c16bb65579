/** Event files read by a second reading of the formats: bit-wise CRCs, fields by hand. */

import { expect, test } from "vitest";
import { crc32c, tfEvent, tfRecord } from "./tfevents.ts";

/** CRC-32C bit by bit, from the polynomial. */
function slowCrc(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes)
    for (let bit = 0; bit < 8; bit++) {
      const low = (c ^ (byte >> bit)) & 1;
      c = low ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    }
  return ~c >>> 0;
}

const unmask = (m: number): number => {
  const x = (m - 0xa282ead8) >>> 0;
  return ((x >>> 17) | (x << 15)) >>> 0;
};

test("the CRC is Castagnoli's: the check value of its catalogue, and every byte", () => {
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  expect(crc32c(all)).toBe(slowCrc(all));
});

test("a record is length, masked CRC, data, masked CRC", () => {
  const data = Uint8Array.of(1, 2, 3, 250);
  const record = tfRecord(data);
  const view = new DataView(record.buffer);
  expect(record.length).toBe(4 + 16);
  expect(view.getBigUint64(0, true)).toBe(4n);
  expect(unmask(view.getUint32(8, true))).toBe(slowCrc(record.subarray(0, 8)));
  expect(record.subarray(12, 16)).toEqual(data);
  expect(unmask(view.getUint32(16, true))).toBe(slowCrc(data));
});

test("an event's fields stand under the numbers of event.proto", () => {
  const record = tfEvent({
    wallTime: 1.5,
    step: 300,
    summary: { values: [{ tag: "loss", simpleValue: 0.25 }] },
  });
  const hex = Buffer.from(record.subarray(12, -4)).toString("hex");
  // 1: double 1.5; 2: varint 300; 5: { 1: { 1: "loss", 2: float 0.25 } }
  expect(hex).toBe("09000000000000f83f" + "10ac02" + "2a0d0a0b" + "0a046c6f7373" + "150000803e");
});
