/** Random and mutated inputs for the scanner, the same for the same seed. Checks nothing itself. */

import { readFileSync } from "node:fs";
import { join, pickle, text, zip } from "./samples.ts";

/** A small generator (mulberry32): good enough to choose bytes. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const le = (n: bigint, bytes: number): string =>
  String.fromCharCode(
    ...Array.from({ length: bytes }, (_, i) => Number((n >> BigInt(8 * i)) & 255n)),
  );
const gguf = (value: string): string =>
  `GGUF${le(3n, 4)}${le(0n, 8)}${le(1n, 8)}${le(23n, 8)}tokenizer.chat_template${le(8n, 4)}${le(BigInt(value.length), 8)}${value}`;
const safetensors = (header: string, data: string): string =>
  `${le(BigInt(header.length), 8)}${header}${data}`;
const NPY = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";

/** Files of other programs, as test/fixtures/guard/make.py made them. */
const FIXTURES = [
  "evil-lzma2.7z",
  "evil-copy.7z",
  "evil-deflate.7z",
  "words.zst",
  "words-linked.lz4",
  "lambda-dense.h5",
];

/** Small files of every format, honest and not. */
export const SEEDS: readonly (readonly [name: string, bytes: Uint8Array])[] = [
  ["a.pkl", pickle(4, "}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(K\x02Neu")],
  ["b.pkl", text("(dp0\nVa\np1\nccollections\nOrderedDict\n(tRs.")],
  ["c.pkl", text("cos\nsystem\n(S'true'\ntR.")],
  [
    "d.pkl",
    pickle(
      2,
      "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85c_codecs\nencode\nX\x01\x00\x00\0bX\x06\x00\x00\x00latin1\x86R\x87R",
    ),
  ],
  [
    "e.pt",
    zip([
      ["a/data.pkl", pickle(2, "}")],
      ["a/version", text("3\n")],
    ]),
  ],
  [
    "f.zip",
    zip([
      ["x.pkl", text("cos\nsystem\n(S'true'\ntR.")],
      ["y/z.txt", text("hi")],
    ]),
  ],
  ["g.npy", text(`\x93NUMPY\x01\x00${le(BigInt(NPY.length), 2)}${NPY}12345678`)],
  ["h.gguf", text(gguf("{% for m in messages %}{{ m['role'] }}{% endfor %}"))],
  ["i.gguf", text(gguf("{{ cycler.__init__.__globals__ }}"))],
  [
    "j.safetensors",
    text(safetensors('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "12345678")),
  ],
  [
    "k.onnx",
    text(
      '\x08\x08\x3a\x37\x0a\x10\x0a\x01x\x12\x01y"\x08IdentityZ\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x02',
    ),
  ],
  [
    "tokenizer_config.json",
    text(
      "{\"chat_template\": \"{{ x['__cl' ~ 'ass__'][::-1] | join(y) if z is not none else {1: 2} }}\"}",
    ),
  ],
  [
    "l.yaml",
    text('a: !!python/object/apply:os.system ["x"]\nb: |\n  {{ c }}\nd: {_target_: os.system}\n'),
  ],
  ["m.json", text('{"class_name": "Lambda", "module": "os", "config": {"function": ["x"]}}')],
  ["n.tar", tar("x.pkl", text("cos\nsystem\n(S'true'\ntR."))],
  [
    "o.gz",
    text(
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\xd4\x03\x00\x1b\x5d\x5b\xdb\x02\x00\x00\x00",
    ),
  ],
  ["p.h5", text('\x89HDF\r\n\x1a\n\x00\x00\x00\x00{"class_name": "TFOpLambda"}\x00')],
  ["q.bz2", text("BZh91AY&SY\x8a\x9f\x9c\x25\x00\x00\x01\x00")],
  ["r.xz", text("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00!\x01\x16\x00\x00\x00")],
  ["saved_model.pb", text("\x08\x01\x12\x0e\x12\x0c\x0a\x02n0\x12\x08ReadFile")],
  ...FIXTURES.map((name): [string, Uint8Array] => [
    name,
    new Uint8Array(readFileSync(new URL(`../fixtures/guard/${name}`, import.meta.url))),
  ]),
];

/** A tar of one member. */
function tar(name: string, content: Uint8Array): Uint8Array {
  const block = new Uint8Array(512);
  block.set(text(name));
  block.set(text("0000644\x00"), 100);
  block.set(text(`${content.length.toString(8).padStart(11, "0")}\x00`), 124);
  block.set(text("        0"), 148);
  const sum = block.reduce((n, b) => n + b, 0);
  block.set(text(`${sum.toString(8).padStart(6, "0")}\x00 `), 148);
  const padded = new Uint8Array(Math.ceil(content.length / 512) * 512);
  padded.set(content);
  return join([block, padded, new Uint8Array(1024)]);
}

/** Numbers at which sizes go wrong. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff];
/** Opcodes and marks worth more than other bytes. */
const MARKS = [
  "(",
  ")",
  "R",
  "\x93",
  "\x81",
  "c",
  "b",
  "0",
  "h\x00",
  "q\x00",
  "\x94",
  "\x95",
  ".",
  "PK\x03\x04",
  "PK\x05\x06",
  "{{",
  "}}",
  "{%",
  "__class__",
  '"',
  "\x80\x04",
  "\n",
];

/** One input: random bytes, or a seed with one to eight mutations. */
export function input(random: () => number): { name: string; bytes: Uint8Array } {
  const below = (n: number) => Math.floor(random() * n);
  const pick = <T>(items: readonly T[]): T => items[below(items.length)]!;
  const [name] = pick(SEEDS);
  if (random() < 0.1)
    return { name, bytes: Uint8Array.from({ length: below(300) }, () => below(256)) };
  let bytes = pick(SEEDS)[1];
  for (let n = 1 + below(8); n > 0; n--) bytes = mutate(bytes, { below, pick });
  return { name, bytes };
}

interface Dice {
  readonly below: (n: number) => number;
  readonly pick: <T>(items: readonly T[]) => T;
}

const MUTATIONS: readonly ((bytes: Uint8Array, dice: Dice) => Uint8Array)[] = [
  (b, { below }) => Uint8Array.from(b, (x, i) => (i === below(b.length) ? x ^ (1 << below(8)) : x)),
  (b, { below }) => b.with(below(b.length), below(256)),
  (b, { below }) => b.slice(0, below(b.length + 1)),
  (b, { below }) => b.slice(below(b.length)),
  (b, { below, pick }) => splice(b, below(b.length + 1), text(pick(MARKS))),
  (b, { below, pick }) => {
    const out = new Uint8Array(b);
    const at = below(Math.max(1, b.length - 4));
    const value = pick(EDGES);
    for (let i = 0; i < 4 && at + i < out.length; i++) out[at + i] = (value >>> (8 * i)) & 255;
    return out;
  },
  (b, { below }) => {
    const from = below(b.length);
    return splice(b, below(b.length + 1), b.slice(from, from + 1 + below(40)));
  },
  (b, { pick }) => join([b, pick(SEEDS)[1]]),
  (b, { below, pick }) => splice(b, below(b.length + 1), pick(SEEDS)[1]),
  (b) => zip([["m", b]]),
];

const splice = (b: Uint8Array, at: number, more: Uint8Array): Uint8Array =>
  join([b.subarray(0, at), more, b.subarray(at)]);

const mutate = (bytes: Uint8Array, dice: Dice): Uint8Array =>
  bytes.length === 0 || bytes.length > 20_000
    ? bytes.slice(0, 100)
    : dice.pick(MUTATIONS)(bytes, dice);
