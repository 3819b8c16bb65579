/** Every technique of the must-detect list, built here byte by byte, bare and inside containers; and random ways to write one payload. */

import { deflateSync, gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { scanSource } from "../../src/guard/scan/index.ts";
import { anyZip, npy, npyHeader, tar } from "./build.ts";
import { EVIL_FILES } from "./evil-files.ts";
import { EVIL_PICKLES } from "./evil-pickles.ts";
import { generator } from "./fuzz.ts";
import { join, text } from "./samples.ts";

const isFlagged = async (bytes: Uint8Array, name: string): Promise<boolean> => {
  const { verdict } = await scanSource(bytes, { name });
  return verdict === "malicious" || verdict === "suspicious";
};

/** What is not flagged, for a message that names it. */
async function missed(
  samples: Iterable<readonly [what: string, bytes: Uint8Array, name: string]>,
): Promise<string[]> {
  const names: string[] = [];
  for (const [what, bytes, name] of samples)
    if (!(await isFlagged(bytes, name))) names.push(`${what} as ${name}`);
  return names;
}

describe("pickles", () => {
  test.each(["x.pkl", "x.pt", "x.bin", "x.joblib"])(
    "each technique is flagged under the name %s",
    async (name) => {
      // Python refuses an unknown protocol at once; only under a pickle's name is the attempt worth a word.
      const samples = EVIL_PICKLES.filter(
        ([what]) => name !== "x.bin" || !what.startsWith("a protocol that"),
      );
      expect(await missed(samples.map(([what, bytes]) => [what, bytes, name]))).toEqual([]);
    },
  );

  const WRAPS: Readonly<Record<string, (b: Uint8Array) => [Uint8Array, string]>> = {
    "a torch zip": (b) => [anyZip([{ name: "m/data.pkl", content: b }]), "x.pt"],
    "a packed member": (b) => [
      anyZip([{ name: "M/Data.PKL", content: b, deflate: true }]),
      "x.pth",
    ],
    "a tar.gz": (b) => [gzipSync(tar([{ name: "d/x.pkl", content: b }])), "x.tar.gz"],
    "zlib, as joblib packs": (b) => [deflateSync(b), "x.joblib"],
    "an array of objects": (b) => [npy(npyHeader("'|O'"), b), "x.npy"],
    "an array in an archive": (b) => [
      anyZip([{ name: "a.npy", content: npy(npyHeader("'|O'"), b, 2), deflate: true }]),
      "x.npz",
    ],
  };
  test.each(Object.keys(WRAPS))("each technique is flagged inside %s", async (wrap) => {
    const small = EVIL_PICKLES.filter(([, bytes]) => bytes.length < 10_000);
    expect(await missed(small.map(([what, bytes]) => [what, ...WRAPS[wrap]!(bytes)]))).toEqual([]);
  });
});

test("files of every other format are flagged, technique by technique", async () => {
  expect(EVIL_FILES.length).toBeGreaterThan(400);
  expect(await missed(EVIL_FILES.map(({ what, bytes, name }) => [what, bytes, name]))).toEqual([]);
});

// ---- random ways to write the same call -------------------------------------------------------

const char = String.fromCharCode;
const le4 = (n: number) => char(n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24);

/** Ways to push a text. */
const TEXTS: readonly ((s: string) => string)[] = [
  (s) => `\x8c${char(s.length)}${s}`,
  (s) => `X${le4(s.length)}${s}`,
  (s) => `\x8d${le4(s.length)}${le4(0)}${s}`,
  (s) => `V${s}\n`,
  (s) => `V${[...s].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}\n`,
  (s) => `S'${s}'\n`,
  (s) =>
    `S"${[...s].map((c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`).join("")}"\n`,
  (s) => `U${char(s.length)}${s}`,
  (s) => `T${le4(s.length)}${s}`,
];
/** What changes nothing. */
const NOISE = [
  "N0",
  "]0",
  "}0",
  "(1",
  "K\x070",
  "\x88\x890" + "0",
  "(N]t0",
  "](K\x01e0",
  "N20" + "0",
  "G\0\0\0\0\0\0\0\x000",
];
const TARGETS = [
  "os system",
  "posix popen",
  "builtins eval",
  "subprocess run",
  "nt system",
  "runpy run_path",
  "shutil rmtree",
  "a_package.of_mine run",
];
const NAMES = [
  "m.pkl",
  "m.pt",
  "m.bin",
  "m.pth",
  "m.ckpt",
  "m.joblib",
  "m.npy",
  "m.onnx",
  "m.dat",
  "m",
  "m.PKL",
  "m.model",
];

/** One random pickle that calls a random target in a random way. */
function mutant(random: () => number): { bytes: Uint8Array; name: string } {
  const below = (n: number) => Math.floor(random() * n);
  const pick = <T>(items: readonly T[]): T => items[below(items.length)]!;
  const noise = () => Array.from({ length: below(4) }, () => pick(NOISE)).join("");
  const push = (s: string) => pick(TEXTS)(s);
  const [module, name] = pick(TARGETS).split(" ") as [string, string];
  const slot = () => 10 + below(200);
  /** A text that takes a way through the memo. */
  const detour = (s: string): string => {
    const at = slot();
    const ways = [
      `q${char(at)}0${noise()}h${char(at)}`,
      `p${at}\n0${noise()}g${at}\n`,
      `r${le4(at)}0j${le4(at)}`,
    ];
    return random() < 0.4 ? push(s) + pick(ways) : push(s);
  };
  const callee = pick([
    () => `c${module}\n${name}\n`,
    () => `${detour(module)}${noise()}${detour(name)}\x93`,
    () => `c${module}\n${name}\nq\x050${noise()}h\x05`,
  ])();
  const call = pick([
    () => `${callee}${noise()}(${push("x")}${noise()}tR`,
    () => `${callee}${push("x")}\x85R`,
    () => `${callee}${push("x")}\x85\x81`,
    () => `(${callee}${push("x")}o`,
    () => `(${push("x")}i${module}\n${name}\n`,
    () => `${callee}${push("x")}\x85}\x92`,
  ])();
  const place = pick([
    (s: string) => s,
    (s: string) => `](${noise()}${s}e`,
    (s: string) => `}(${push("k")}${s}u`,
    (s: string) => `${s}0N`,
    (s: string) => `(${s}1N`,
    (s: string) => `(${s}l`,
  ])(call);
  const head = random() < 0.7 ? `\x80${char(2 + below(4))}` : "";
  const before = random() < 0.3 ? pick(["N.", "](K\x01e.", "\x80\x02}."]) : "";
  const end = pick([".", ".", ".", "", "\xff", ".N."]);
  let bytes: Uint8Array = text(`${before}${head}${noise()}${place}${end}`);
  let file = pick(NAMES);
  for (let layers = below(3); layers > 0; layers--) {
    const member = pick(["m/data.pkl", "data.pkl", "X/DATA.pkl", "a/b/c", "w.npy", "version"]);
    [bytes, file] = pick<() => [Uint8Array, string]>([
      () => [
        anyZip([{ name: member, content: bytes, deflate: random() < 0.5 }]),
        pick(["m.zip", "m.pt", "m.npz", "m.bin"]),
      ],
      () => [tar([{ name: member, content: bytes }]), pick(["m.tar", "m.pt"])],
      () => [new Uint8Array(gzipSync(bytes)), pick(["m.gz", "m.pkl.gz", "m.pkl"])],
      () => [join([text("\x80\x02N."), bytes]), "m.pkl"],
    ])();
  }
  return { bytes, name: file };
}

test.each([1, 20261122, 77])(
  "300 random ways to write a call are all flagged (seed %i)",
  async (seed) => {
    const random = generator(seed);
    const samples = Array.from({ length: 300 }, () => mutant(random));
    const wrong: string[] = [];
    for (const { bytes, name } of samples)
      if (!(await isFlagged(bytes, name)))
        wrong.push(`${name}: ${JSON.stringify(String.fromCharCode(...bytes.subarray(0, 200)))}`);
    expect(wrong).toEqual([]);
  },
);
