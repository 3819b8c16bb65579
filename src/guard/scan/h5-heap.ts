/** Dense storage of HDF5: fractal heaps, and the version 2 trees that list what lies in them. */

import { fail, type H5, isAddress, number, range, signed } from "./h5-read.ts";

/** The doubling table of a fractal heap. */
interface Heap {
  readonly idLength: number;
  readonly filtered: boolean;
  readonly width: number;
  readonly first: number;
  readonly maxDirect: number;
  /** Bytes of an offset, and of a length, in the numbers of objects. */
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly root: number;
  readonly rows: number;
  readonly hasChecksums: boolean;
  readonly huge: number;
}

async function openHeap(h5: H5, address: number): Promise<Heap> {
  const { wide, long } = h5;
  const raw = await signed(h5, address, "FRHP", 26 + 12 * long + 3 * wide);
  const flags = number(raw, 9, 1);
  const maxObject = number(raw, 10, 4);
  let at = 14 + long;
  const huge = number(raw, at, wide);
  at += wide + long + wide + 8 * long;
  const width = number(raw, at, 2);
  const first = number(raw, at + 2, long);
  const maxDirect = number(raw, at + 2 + long, long);
  const bits = number(raw, at + 2 + 2 * long, 2);
  const root = number(raw, at + 6 + 2 * long, wide);
  const rows = number(raw, at + 6 + 2 * long + wide, 2);
  const powers = [width, first, maxDirect].every((n) => n > 0 && Number.isInteger(Math.log2(n)));
  if (!powers || bits > 64) return fail("a heap of impossible shape");
  const bytes = (n: number) => Math.floor(Math.log2(Math.max(1, n)) / 8) + 1;
  return {
    idLength: number(raw, 5, 2),
    filtered: number(raw, 7, 2) > 0,
    width,
    first,
    maxDirect,
    offsetBytes: Math.ceil(bits / 8),
    lengthBytes: Math.min(bytes(maxDirect), bytes(maxObject)),
    root,
    rows,
    hasChecksums: (flags & 2) !== 0,
    huge,
  };
}

/** Bytes of a block in row `row`: the first two rows are alike, then they double. */
const blockSize = ({ first }: Heap, row: number): number => first * 2 ** Math.max(0, row - 1);

/** Finds the direct block that holds an offset of the heap's own space. */
async function locate(
  h5: H5,
  heap: Heap,
  offset: number,
): Promise<{ address: number; start: number; size: number }> {
  let { root: address, rows } = heap;
  let [start, size] = [0, rows === 0 ? heap.first : 0];
  for (let depth = 0; rows > 0; depth++) {
    if (depth > 16) return fail("a heap nested too deep");
    const directRows = Math.log2(heap.maxDirect / heap.first) + 2;
    let left = offset - start;
    let row = 0;
    while (row < rows && left >= heap.width * blockSize(heap, row))
      left -= heap.width * blockSize(heap, row++);
    if (row >= rows) return fail("an object outside of its heap");
    size = blockSize(heap, row);
    const column = Math.floor(left / size);
    const entry = row * heap.width + column;
    const raw = await signed(
      h5,
      address,
      "FHIB",
      5 + h5.wide + heap.offsetBytes + (entry + 1) * h5.wide,
    );
    address = number(raw, raw.length - h5.wide, h5.wide);
    start = offset - (left % size);
    // An indirect block covers as much as all rows before it.
    rows = row < directRows ? 0 : Math.log2(size / (heap.first * heap.width)) + 1;
  }
  if (!isAddress(address)) return fail("a block that was never written");
  return { address, start, size };
}

/** The object of a heap number: managed, huge or tiny. */
async function objectOf(h5: H5, heap: Heap, id: Uint8Array): Promise<Uint8Array> {
  const kind = (id[0]! >> 4) & 3;
  if (kind === 2) {
    const wideLength = heap.idLength > 18;
    const length = wideLength ? (((id[0]! & 15) << 8) | id[1]!) + 1 : (id[0]! & 15) + 1;
    return id.subarray(wideLength ? 2 : 1, (wideLength ? 2 : 1) + length);
  }
  if (heap.filtered) return fail("a heap that is packed");
  if (kind === 1) {
    if (heap.idLength >= 1 + h5.wide + h5.long)
      return (await range(h5, number(id, 1, h5.wide), number(id, 1 + h5.wide, h5.long))).slice();
    const key = number(id, 1, Math.min(heap.idLength - 1, h5.long));
    for await (const record of records(h5, heap.huge))
      if (number(record, h5.wide + h5.long, h5.long) === key)
        return (
          await range(h5, number(record, 0, h5.wide), number(record, h5.wide, h5.long))
        ).slice();
    return fail("a huge object that no tree lists");
  }
  if (kind !== 0) return fail("a heap object of unknown kind");
  const offset = number(id, 1, heap.offsetBytes);
  const length = number(id, 1 + heap.offsetBytes, heap.lengthBytes);
  const { address, start, size } = await locate(h5, heap, offset);
  if (length > size - (offset - start)) return fail("an object beyond its block");
  return (await range(h5, address + offset - start, length)).slice();
}

// ---- version 2 trees --------------------------------------------------------------------------

/** All records of a tree, in no promised order. */
async function* records(h5: H5, address: number): AsyncGenerator<Uint8Array> {
  if (!isAddress(address)) return;
  const { wide, long } = h5;
  const head = await signed(h5, address, "BTHD", 18 + wide + long);
  const [nodeSize, width, depth] = [number(head, 6, 4), number(head, 10, 2), number(head, 12, 2)];
  if (width === 0 || depth > 16 || nodeSize < 16) return fail("a tree of impossible shape");
  const bytes = (n: number) => Math.floor(Math.log2(Math.max(1, n)) / 8) + 1;
  // By level: records that fit a node, and the most that lie below it.
  const most = [Math.floor((nodeSize - 10) / width)];
  const below = [most[0]!];
  const pointer = (level: number) =>
    wide + bytes(most[0]!) + (level > 1 ? bytes(below[level - 1]!) : 0);
  for (let level = 1; level <= depth; level++) {
    most[level] = Math.floor((nodeSize - 10 - pointer(level)) / (width + pointer(level)));
    below[level] = (most[level]! + 1) * below[level - 1]! + most[level]!;
  }
  const nodes: [at: number, count: number, level: number][] = [
    [number(head, 16, wide), number(head, 16 + wide, 2), depth],
  ];
  const seen = new Set<number>();
  for (let node = nodes.pop(); node; node = nodes.pop()) {
    const [at, count, level] = node;
    if (count === 0 || !isAddress(at)) continue;
    if (seen.has(at) || count > most[level]!) return fail("a tree that contains itself");
    seen.add(at);
    const size = 6 + count * width + (level > 0 ? (count + 1) * pointer(level) : 0);
    const raw = await signed(h5, at, level > 0 ? "BTIN" : "BTLF", size);
    for (let i = 0; i < count; i++) yield raw.subarray(6 + i * width, 6 + (i + 1) * width);
    for (let i = 0; level > 0 && i <= count; i++) {
      const from = 6 + count * width + i * pointer(level);
      nodes.push([number(raw, from, wide), number(raw, from + wide, bytes(most[0]!)), level - 1]);
    }
  }
}

/** Where the heap number stands in a record, by the type of the tree: links and attributes by name. */
const NUMBERS = { link: 4, attribute: 0 } as const;

/** All objects that a tree lists by name. */
export async function* denseObjects(
  h5: H5,
  { heap: address, tree, kind }: { heap: number; tree: number; kind: keyof typeof NUMBERS },
): AsyncGenerator<Uint8Array> {
  if (!isAddress(address)) return;
  const heap = await openHeap(h5, address);
  const from = NUMBERS[kind];
  for await (const record of records(h5, tree))
    yield await objectOf(h5, heap, record.subarray(from, from + heap.idLength));
}
