/** PNG against an independent codec (sharp), every kind of pixel, and damaged files. */

import { deflateSync } from "node:zlib";
import fc from "fast-check";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { crc32 } from "./crc32.ts";
import { InputError } from "./errors.ts";
import { decodePng, encodePng, type PngImage } from "./png.ts";

/** A picture with smooth and noisy parts, so that every filter wins somewhere. */
function picture(width: number, height: number, channels: number): PngImage {
  const data = new Uint8Array(width * height * channels);
  for (let i = 0, x = 1; i < data.length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    const row = Math.floor(i / (width * channels));
    data[i] = row % 3 === 0 ? x >>> 24 : row % 3 === 1 ? i * 2 : row * 5;
  }
  return { width, height, channels, data };
}

function chunk(type: string, body: Uint8Array): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), body]);
  const out = Buffer.alloc(named.length + 8);
  out.writeUInt32BE(body.length, 0);
  named.copy(out, 4);
  out.writeUInt32BE(crc32(named), out.length - 4);
  return out;
}

const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** A PNG by hand: rows are given with their filter bytes. */
function png(
  [width, height, depth, colour, interlace = 0]: number[],
  rows: number[] | Uint8Array,
  { before = [] as Buffer[], after = [] as Buffer[] } = {},
): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width!, 0);
  header.writeUInt32BE(height!, 4);
  header.set([depth!, colour!, 0, 0, interlace], 8);
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", header),
    ...before,
    chunk("IDAT", deflateSync(Uint8Array.from(rows))),
    ...after,
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

describe("a PNG", () => {
  test("gives back every pixel, whatever its size and channels", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 4 }),
        async (width, height, channels) => {
          const image = picture(width, height, channels);
          expect(await decodePng(await encodePng(image))).toEqual({ ...image, text: {} });
        },
      ),
      { numRuns: 60 },
    );
  });

  for (const channels of [1, 2, 3, 4])
    test(`of ${channels} channels is the same to sharp, both ways`, async () => {
      const image = picture(37, 23, channels);
      const raw = { width: 37, height: 23, channels: channels as 1 | 2 | 3 | 4 };
      // sharp has no raw gray with alpha: it answers RGBA, so that is what is compared.
      const space = channels === 1 ? "b-w" : "srgb";
      const wanted =
        channels === 2
          ? Uint8Array.from(
              { length: 37 * 23 * 4 },
              (_, i) => image.data[(i >> 2) * 2 + +((i & 3) === 3)]!,
            )
          : image.data;
      const theirs = await sharp(await encodePng(image))
        .toColourspace(space)
        .raw()
        .toBuffer();
      expect(Buffer.compare(theirs, wanted)).toBe(0);
      for (const options of [{}, { progressive: true }, { adaptiveFiltering: true }]) {
        const file = await sharp(image.data, { raw }).toColourspace(space).png(options).toBuffer();
        expect(Buffer.compare((await decodePng(file)).data, wanted)).toBe(0);
      }
    });

  test("of 16 bits is scaled to 8", async () => {
    const rgb = Uint16Array.from({ length: 3 * 65536 }, (_, i) => (i * 7) & 65535);
    const raw = { width: 256, height: 256, channels: 3 as const };
    const file = await sharp(rgb, { raw }).toColourspace("rgb16").png().toBuffer();
    const { data } = await decodePng(file);
    expect(data).toEqual(Uint8Array.from(rgb, (v) => Math.round((v * 255) / 65535)));
  });

  test("with a palette, at any depth, becomes RGB or RGBA", async () => {
    const { data, width, height } = picture(40, 30, 3);
    for (const colours of [2, 4, 16, 200]) {
      const file = await sharp(data, { raw: { width, height, channels: 3 } })
        .png({ palette: true, colours, dither: 0 })
        .toBuffer();
      const theirs = await sharp(file).raw().toBuffer();
      const ours = await decodePng(file);
      expect([ours.channels, Buffer.compare(ours.data, theirs)]).toEqual([3, 0]);
    }
    const file = png([2, 1, 1, 3], [0, 0b01000000], {
      before: [chunk("PLTE", Buffer.from([9, 8, 7, 1, 2, 3])), chunk("tRNS", Buffer.from([0]))],
    });
    expect((await decodePng(file)).data).toEqual(Uint8Array.of(9, 8, 7, 0, 1, 2, 3, 255));
  });

  test("of 1, 2 or 4 gray bits is stretched to 8; a transparent gray becomes alpha", async () => {
    expect((await decodePng(png([3, 1, 1, 0], [0, 0b10100000]))).data).toEqual(
      Uint8Array.of(255, 0, 255),
    );
    expect((await decodePng(png([4, 1, 2, 0], [0, 0b00011011]))).data).toEqual(
      Uint8Array.of(0, 85, 170, 255),
    );
    const clear = png([2, 1, 4, 0], [0, 0xf3], { before: [chunk("tRNS", Buffer.from([0, 3]))] });
    expect(await decodePng(clear)).toMatchObject({
      channels: 2,
      data: Uint8Array.of(255, 255, 51, 0),
    });
  });

  test("carries text: Latin-1 as tEXt, all else as iTXt, in order", async () => {
    const text = { Title: "caf\u00e9\nsecond", parameters: '{"label":"😀","seed":3}', Empty: "" };
    const file = await encodePng(picture(2, 2, 3), { text });
    expect((await decodePng(file)).text).toEqual(text);
    expect(Object.keys((await decodePng(file)).text)).toEqual(Object.keys(text));
    expect(file.includes(0xf0)).toBe(true); // the emoji is there in UTF-8
    const comments = (await sharp(file).metadata()).comments?.map((c) => [c.keyword, c.text]);
    expect(comments).toContainEqual(["parameters", text.parameters]);
  });

  test("may have packed text", async () => {
    const packed = deflateSync(Buffer.from("packed \u00fc"));
    const file = png([1, 1, 8, 0], [0, 5], {
      before: [
        chunk(
          "zTXt",
          Buffer.concat([Buffer.from("a\0\0"), deflateSync(Buffer.from("z\xfc", "latin1"))]),
        ),
      ],
      after: [chunk("iTXt", Buffer.concat([Buffer.from("b\0\x01\0de\0B\0"), packed]))],
    });
    expect((await decodePng(file)).text).toEqual({ a: "z\u00fc", b: "packed \u00fc" });
  });

  test("is the same bytes for the same image", async () => {
    expect(await encodePng(picture(9, 9, 3))).toEqual(await encodePng(picture(9, 9, 3)));
  });

  test("is not written from data that does not fit", async () => {
    await expect(encodePng({ ...picture(3, 3, 3), width: 4 })).rejects.toThrow(RangeError);
    await expect(encodePng({ ...picture(3, 3, 3), channels: 5 })).rejects.toThrow(RangeError);
    await expect(encodePng(picture(3, 3, 3), { text: { " a": "" } })).rejects.toThrow(RangeError);
  });
});

describe("a PNG is refused with", () => {
  const end = (type: string, body: number[] = []) => ({ after: [chunk(type, Buffer.from(body))] });
  const early = (type: string, body: number[] = []) => ({
    before: [chunk(type, Buffer.from(body))],
  });
  const ok = [0, 5];
  test.each<[string, Uint8Array, RegExp]>([
    ["no signature", Buffer.from("GIF89a.."), /signature/],
    ["a cut end", png([1, 1, 8, 0], ok).subarray(0, -1), /inside a chunk|are left/],
    [
      "bytes after the end",
      Buffer.concat([png([1, 1, 8, 0], ok), Buffer.from("PK")]),
      /2 bytes follow/,
    ],
    ["a billion pixels", png([40000, 40000, 8, 0], ok), /40000 x 40000; allowed/],
    ["no width", png([0, 1, 8, 0], ok), /0 x 1/],
    ["a wrong depth", png([1, 1, 4, 2], ok), /colour type 2 with 4 bits/],
    ["an unknown interlace", png([1, 1, 8, 0, 2], ok), /interlace 2/],
    ["too few pixels", png([2, 1, 8, 0], ok), /inflates to 2 bytes, 3 are declared/],
    ["too many pixels", png([1, 1, 8, 0], new Uint8Array(1e6)), /inflates to more/],
    ["an unknown filter", png([1, 1, 8, 0], [5, 0]), /filter 5/],
    ["no palette", png([1, 1, 8, 3], ok), /no palette/],
    ["a colour beyond the palette", png([1, 1, 8, 3], ok, early("PLTE", [1, 2, 3])), /colour 5/],
    ["half a palette entry", png([1, 1, 8, 3], ok, early("PLTE", [1, 2])), /palette has 2 bytes/],
    ["an unknown critical chunk", png([1, 1, 8, 0], ok, early("ABCD")), /must be understood/],
    ["a second header", png([1, 1, 8, 0], ok, early("IHDR")), /IHDR stands twice/],
    [
      "transparency after the pixels",
      png([1, 1, 8, 0], ok, end("tRNS", [0, 1])),
      /after the pixels/,
    ],
    ["text without a keyword", png([1, 1, 8, 0], ok, end("tEXt", [0, 65])), /no keyword/],
    [
      "text that is not UTF-8",
      png([1, 1, 8, 0], ok, end("iTXt", [65, 0, 0, 0, 0, 0, 255])),
      /UTF-8/,
    ],
    [
      "a packed text bomb",
      png([1, 1, 8, 0], ok, end("zTXt", [65, 0, 0, ...deflateSync(Buffer.alloc(2 ** 25))])),
      /inflates to more/,
    ],
  ])("%s", async (_, bytes, why) => {
    const error = await decodePng(bytes).catch((e) => e);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toMatch(why);
  });

  test("any changed byte, by its CRC; and damage behind a right CRC gives no other error", async () => {
    const good = await encodePng(picture(8, 8, 3), { text: { a: "é😀" } });
    for (let at = 0; at < good.length; at += 7) {
      const bytes = good.slice();
      bytes[at]! ^= 0x40;
      await expect(decodePng(bytes)).rejects.toThrow(InputError);
    }
    const idat = fc.uint8Array({ maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(idat, fc.uint8Array({ maxLength: 30 }), async (pixels, itxt) => {
        const bytes = Buffer.concat([
          good.subarray(0, 33),
          chunk("iTXt", Buffer.from(itxt)),
          chunk("IDAT", Buffer.from(pixels)),
          chunk("IEND", Buffer.alloc(0)),
        ]);
        const error = await decodePng(bytes).catch((e) => e);
        if (error instanceof Error && !(error instanceof InputError)) throw error;
      }),
      { numRuns: 300 },
    );
  });
});
