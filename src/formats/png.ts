/** PNG images with text metadata, 8 bits a sample: encode and decode. Resizes and converts nothing. */

import { checkedUtf8, concatBytes, viewOf } from "./bytes.ts";
import { crc32 } from "./crc32.ts";
import { deflate, inflate } from "./deflate.ts";
import { InputError } from "./errors.ts";
import { filterRows, unfilterRows } from "./png-filter.ts";

export interface PngImage {
  readonly width: number;
  readonly height: number;
  /** 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA. */
  readonly channels: number;
  /** Row-major, channels last: height * width * channels. */
  readonly data: Uint8Array;
}

/** Text by keyword, e.g. `{ parameters: "seed 3" }`. */
export type PngText = Readonly<Record<string, string>>;

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const MAX_SIDE = 2 ** 31 - 1;
const MAX_TEXT = 16 * 2 ** 20;
const MAX_KEYWORD = 79;
const TEXT_CHUNKS = new Set(["tEXt", "zTXt", "iTXt"]);

/** PNG colour types: channels in the file, and allowed bits a sample (ISO 15948, table 11.1). */
const COLOUR: Readonly<Record<number, { channels: number; depths: readonly number[] }>> = {
  0: { channels: 1, depths: [1, 2, 4, 8, 16] },
  2: { channels: 3, depths: [8, 16] },
  3: { channels: 1, depths: [1, 2, 4, 8] },
  4: { channels: 2, depths: [8, 16] },
  6: { channels: 4, depths: [8, 16] },
};
const PALETTE = 3;
const COLOUR_OF_CHANNELS: Readonly<Record<number, number>> = { 1: 0, 2: 4, 3: 2, 4: 6 };

/** Adam7: first column and row, and their steps, of each pass. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;
const WHOLE = [[0, 0, 1, 1]] as const;

function refuse(why: string, data: Record<string, unknown> = {}): never {
  throw new InputError(`png: ${why}`, data);
}

// ---- encode -----------------------------------------------------------------------------------

const utf8 = new TextEncoder();

function chunk(type: string, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + body.length);
  const view = viewOf(out);
  view.setUint32(0, body.length);
  out.set(utf8.encode(type), 4);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc32(out.subarray(4, 8 + body.length)));
  return out;
}

/** Printable Latin-1 without doubled or outer blanks, 1 to 79 characters (ISO 15948, 11.3.4.2). */
const isKeyword = (word: string): boolean =>
  word.length >= 1 &&
  word.length <= MAX_KEYWORD &&
  /^[\u0020-\u007e\u00a1-\u00ff]+$/.test(word) &&
  word === word.trim() &&
  !word.includes("  ");

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** tEXt where Latin-1 printable text suffices, else iTXt. */
function textChunk([keyword, text]: [string, string]): Uint8Array {
  if (!isKeyword(keyword))
    throw new RangeError(`png: ${JSON.stringify(keyword)} cannot be a keyword`);
  if (text.includes("\0")) throw new RangeError(`png: the text of ${keyword} contains NUL`);
  return /^[\n\u0020-\u007e\u00a1-\u00ff]*$/.test(text)
    ? chunk("tEXt", concatBytes([latin1(keyword), Uint8Array.of(0), latin1(text)]))
    : chunk(
        "iTXt",
        concatBytes([latin1(keyword), Uint8Array.of(0, 0, 0, 0, 0), utf8.encode(text)]),
      );
}

/**
 * The bytes of a PNG: 8 bits a sample, filter chosen per row. Same pixels and text, same bytes on
 * the same platform; no time stamp is written.
 * @param text metadata by keyword, written before the pixels in the given order.
 * @throws RangeError when width, height, channels and data do not fit each other.
 */
export async function encodePng(
  { width, height, channels, data }: PngImage,
  { text = {} }: { text?: PngText } = {},
): Promise<Uint8Array> {
  const colour = COLOUR_OF_CHANNELS[channels];
  const isSide = (n: number) => Number.isInteger(n) && n >= 1 && n <= MAX_SIDE;
  if (colour === undefined || !isSide(width) || !isSide(height))
    throw new RangeError(`png: ${width} x ${height} with ${channels} channels is no image`);
  if (data.length !== width * height * channels)
    throw new RangeError(
      `png: ${width} x ${height} x ${channels} takes ${width * height * channels} bytes, got ${data.length}`,
    );
  const header = new Uint8Array(13);
  viewOf(header).setUint32(0, width);
  viewOf(header).setUint32(4, height);
  header.set([8, colour, 0, 0, 0], 8);
  const rows = filterRows(data, { stride: width * channels, pixel: channels });
  return concatBytes([
    SIGNATURE,
    chunk("IHDR", header),
    ...Object.entries(text).map(textChunk),
    chunk("IDAT", await deflate(rows)),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

// ---- decode -----------------------------------------------------------------------------------

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colour: number;
  readonly interlaced: boolean;
}

interface Chunk {
  readonly type: string;
  readonly body: Uint8Array;
}

/** Cuts the file into chunks, checking lengths, CRCs and that nothing follows IEND. */
function readChunks(bytes: Uint8Array): Chunk[] {
  if (bytes.length < 8 || SIGNATURE.some((b, i) => bytes[i] !== b))
    refuse("the file does not begin with the PNG signature");
  const view = viewOf(bytes);
  const chunks: Chunk[] = [];
  let at = 8;
  while (chunks.at(-1)?.type !== "IEND") {
    if (bytes.length - at < 12) refuse(`the file ends at byte ${bytes.length}, inside a chunk`);
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (length > bytes.length - at - 12)
      refuse(
        `chunk ${JSON.stringify(type)} says ${length} bytes, ${bytes.length - at - 12} are left`,
      );
    if (!/^[A-Za-z]{2}[A-Z][A-Za-z]$/.test(type))
      refuse(`${JSON.stringify(type)} is no chunk type`);
    const end = at + 8 + length;
    if (crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end))
      refuse(`the CRC of chunk ${type} at byte ${at} is wrong; the file is damaged`, { at });
    chunks.push({ type, body: bytes.subarray(at + 8, end) });
    at = end + 4;
  }
  if (at !== bytes.length) refuse(`${bytes.length - at} bytes follow the end of the image`);
  return chunks;
}

function readHeader({ type, body }: Chunk, maxPixels: number): Header {
  if (type !== "IHDR" || body.length !== 13) return refuse("the file does not begin with a header");
  const view = viewOf(body);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colour, compression, filter, interlace] = body.subarray(8) as unknown as number[];
  if (
    width < 1 ||
    height < 1 ||
    width > MAX_SIDE ||
    height > MAX_SIDE ||
    width * height > maxPixels
  )
    refuse(`the image is ${width} x ${height}; allowed are 1 to ${maxPixels} pixels`, {
      width,
      height,
      maxPixels,
    });
  if (!COLOUR[colour!]?.depths.includes(depth!))
    refuse(`colour type ${colour} with ${depth} bits does not exist`);
  if (compression !== 0 || filter !== 0 || interlace! > 1)
    refuse(`compression ${compression}, filter ${filter}, interlace ${interlace} are not known`);
  return { width, height, depth: depth!, colour: colour!, interlaced: interlace === 1 };
}

/** Chunks that change how pixels are read or that must be understood; all others are skipped. */
function checkOrder(chunks: readonly Chunk[]): void {
  const types = chunks.map((c) => c.type);
  for (const type of ["IHDR", "PLTE", "tRNS", "IEND"])
    if (types.indexOf(type) !== types.lastIndexOf(type)) refuse(`chunk ${type} stands twice`);
  const foreign = types.find((t) => /^[A-Z]/.test(t) && !/^(IHDR|PLTE|IDAT|IEND)$/.test(t));
  if (foreign) refuse(`chunk ${foreign} must be understood, but is not known`);
  const [first, last] = [types.indexOf("IDAT"), types.lastIndexOf("IDAT")];
  if (first < 0) refuse("the image has no pixels");
  if (types.slice(first, last).some((t) => t !== "IDAT")) refuse("the pixels are interrupted");
  for (const type of ["PLTE", "tRNS"])
    if (types.indexOf(type) > first) refuse(`chunk ${type} stands after the pixels`);
}

/** Samples of one row as stored: 1 to 16 bits each, most significant first. */
function sampler(row: Uint8Array, depth: number): (i: number) => number {
  if (depth === 8) return (i) => row[i]!;
  if (depth === 16) return (i) => row[2 * i]! * 256 + row[2 * i + 1]!;
  const mask = (1 << depth) - 1;
  return (i) => (row[(i * depth) >> 3]! >> (8 - depth - ((i * depth) & 7))) & mask;
}

/** How one pixel of the file becomes bytes of the image. */
interface Painter {
  readonly channels: number;
  paint(sample: (i: number) => number, from: number, to: { data: Uint8Array; at: number }): void;
}

function palettePainter(palette: Uint8Array, alpha: Uint8Array | undefined): Painter {
  const count = palette.length / 3;
  if (!Number.isInteger(count) || count < 1 || count > 256 || (alpha && alpha.length > count))
    refuse(`the palette has ${palette.length} bytes and ${alpha?.length ?? 0} alphas`);
  return {
    channels: alpha ? 4 : 3,
    paint(sample, from, { data, at }) {
      const index = sample(from);
      if (index >= count) refuse(`a pixel has colour ${index}, the palette ${count}`);
      data.set(palette.subarray(3 * index, 3 * index + 3), at);
      if (alpha) data[at + 3] = alpha[index] ?? 255;
    },
  };
}

function directPainter({ depth, colour }: Header, key: Uint8Array | undefined): Painter {
  const stored = COLOUR[colour]!.channels;
  const top = 2 ** depth - 1;
  if (key && (stored > 3 || stored === 2 || key.length !== 2 * stored))
    refuse(`a transparent colour of ${key.length} bytes does not fit colour type ${colour}`);
  const clear =
    key && Array.from({ length: stored }, (_, c) => key[2 * c]! * 256 + key[2 * c + 1]!);
  return {
    channels: stored + (clear ? 1 : 0),
    paint(sample, from, { data, at }) {
      let isClear = clear !== undefined;
      for (let c = 0; c < stored; c++) {
        const value = sample(from * stored + c);
        if (clear && value !== clear[c]) isClear = false;
        data[at + c] = depth === 8 ? value : Math.round((value * 255) / top);
      }
      if (clear) data[at + stored] = isClear ? 0 : 255;
    },
  };
}

function choosePainter(header: Header, chunks: readonly Chunk[]): Painter {
  const body = (type: string) => chunks.find((c) => c.type === type)?.body;
  if (header.colour !== PALETTE) return directPainter(header, body("tRNS"));
  return palettePainter(body("PLTE") ?? refuse("the image has no palette"), body("tRNS"));
}

interface Pass {
  readonly x: number;
  readonly y: number;
  readonly dx: number;
  readonly dy: number;
  readonly columns: number;
  readonly rows: number;
  readonly stride: number;
}

function passesOf({ width, height, depth, colour, interlaced }: Header): Pass[] {
  const bits = depth * COLOUR[colour]!.channels;
  return (interlaced ? ADAM7 : WHOLE)
    .map(([x, y, dx, dy]) => {
      const columns = Math.ceil((width - x) / dx);
      const rows = Math.ceil((height - y) / dy);
      return { x, y, dx, dy, columns, rows, stride: Math.ceil((columns * bits) / 8) };
    })
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
}

async function readText({ type, body }: Chunk): Promise<[string, string]> {
  const what = `png: ${type}`;
  const split = body.indexOf(0);
  const keyword = String.fromCharCode(...body.subarray(0, Math.min(Math.max(split, 0), 80)));
  if (!isKeyword(keyword)) refuse(`chunk ${type} has no keyword`);
  const rest = body.subarray(split + 1);
  const fromLatin1 = (bytes: Uint8Array) =>
    Array.from(bytes, (b) => String.fromCharCode(b)).join("");
  if (type === "tEXt") return [keyword, fromLatin1(rest)];
  const unpack = (bytes: Uint8Array) => inflate(what, bytes, { maxBytes: MAX_TEXT });
  if (type === "zTXt") {
    if (rest[0] !== 0) refuse(`${keyword} is packed in an unknown way`);
    return [keyword, fromLatin1(await unpack(rest.subarray(1)))];
  }
  // iTXt: packed?, method, language, translated keyword, text.
  const language = rest.indexOf(0, 2);
  const translated = language < 0 ? -1 : rest.indexOf(0, language + 1);
  if (translated < 0 || rest[0]! > 1 || rest[1] !== 0) refuse(`chunk iTXt ${keyword} is damaged`);
  const raw = rest.subarray(translated + 1);
  return [keyword, checkedUtf8(what, rest[0] === 1 ? await unpack(raw) : raw)];
}

/**
 * Reads a PNG of any kind as 8 bits a sample: palettes become RGB(A), a transparent colour becomes
 * alpha, 16 bits are scaled by 255/65535, fewer than 8 stretched. Gamma and profiles are ignored.
 * @param maxPixels refuses larger images before anything is allocated for them.
 * @throws InputError for damage, excess, and everything the standard forbids.
 */
export async function decodePng(
  bytes: Uint8Array,
  { maxPixels = 64_000_000 } = {},
): Promise<PngImage & { text: PngText }> {
  const chunks = readChunks(bytes);
  const header = readHeader(chunks[0]!, maxPixels);
  checkOrder(chunks);
  const painter = choosePainter(header, chunks);
  const passes = passesOf(header);
  const size = passes.reduce((n, { rows, stride }) => n + rows * (stride + 1), 0);
  const packed = concatBytes(chunks.filter((c) => c.type === "IDAT").map((c) => c.body));
  const raw = await inflate("png: the pixels", packed, { maxBytes: size, exact: true });
  const { width, height, depth, colour } = header;
  const pixel = Math.max(1, (depth * COLOUR[colour]!.channels) >> 3);
  const data = new Uint8Array(width * height * painter.channels);
  let start = 0;
  for (const { x, y, dx, dy, columns, rows, stride } of passes) {
    const block = raw.subarray(start, start + rows * (stride + 1));
    start += block.length;
    const samples = unfilterRows(block, { stride, pixel });
    for (let r = 0; r < rows; r++) {
      const sample = sampler(samples.subarray(r * stride, (r + 1) * stride), depth);
      for (let c = 0; c < columns; c++)
        painter.paint(sample, c, {
          data,
          at: ((y + r * dy) * width + x + c * dx) * painter.channels,
        });
    }
  }
  const text: [string, string][] = [];
  for (const c of chunks) if (TEXT_CHUNKS.has(c.type)) text.push(await readText(c));
  return { width, height, channels: painter.channels, data, text: Object.fromEntries(text) };
}
