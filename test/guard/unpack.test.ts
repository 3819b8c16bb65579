/** Packed streams, 7z and HDF5: what other programs wrote (test/fixtures/guard) is opened, and what is inside is found. */

import { readFileSync } from "node:fs";
import { deflateRawSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { scanSource } from "../../src/guard/scan/index.ts";
import { inflateRaw } from "../../src/guard/scan/inflate.ts";
import { unlz4 } from "../../src/guard/scan/lz4.ts";
import { unzstd } from "../../src/guard/scan/zstd.ts";
import { anyZip } from "./build.ts";
import { join, text } from "./samples.ts";

const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../fixtures/guard/${name}`, import.meta.url)));
const scan = (bytes: Uint8Array, name: string) => scanSource(bytes, { name });

/** The text of test/fixtures/guard/make.py. */
function words(n: number): Uint8Array {
  let state = 1;
  let out = "";
  for (let i = 0; i < n; i++) {
    state = Number((BigInt(state) * 1103515245n + 12345n) % 2n ** 31n);
    out += `layer${(state >> 16) % 97}.weight `;
  }
  return text(out);
}
const TEXT = words(600);

const UNPACK = { zst: unzstd, lz4: unlz4 } as const;
const PACKED = [
  ["words.zst", "zst"],
  ["words-19.zst", "zst"],
  ["words.lz4", "lz4"],
  ["words-linked.lz4", "lz4"],
] as const;

describe("streams", () => {
  test.each(PACKED)("%s gives back every byte", (name, codec) => {
    const packed = fixture(name);
    const { bytes, used, fault } = UNPACK[codec](packed, TEXT.length);
    expect([used, fault]).toEqual([packed.length, undefined]);
    expect(bytes).toEqual(TEXT);
  });

  test.each(PACKED)("%s cut or with a flipped bit never throws and never grows", (name, codec) => {
    const packed = fixture(name);
    for (let at = 0; at < packed.length; at++) {
      const cut = UNPACK[codec](packed.subarray(0, at), TEXT.length);
      expect(TEXT.subarray(0, cut.bytes.length)).toEqual(cut.bytes);
      const flipped = packed.with(at, packed[at]! ^ (1 << (at & 7)));
      expect(UNPACK[codec](flipped, 5000).bytes.length).toBeLessThanOrEqual(5000);
    }
  });

  test("deflate of every kind gives back every byte, and says where it ended", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.constant(TEXT.slice(0, 3000)))),
        fc.constantFrom({ level: 0 }, { level: 1 }, { level: 9 }, { strategy: 2 }, { strategy: 4 }),
        (parts, options) => {
          const plain = join(parts);
          const packed = new Uint8Array(deflateRawSync(plain, options));
          const result = inflateRaw(join([packed, text("rest")]), plain.length);
          expect([result.used, result.fault]).toEqual([packed.length, undefined]);
          expect(result.bytes).toEqual(plain);
        },
      ),
    );
  });

  test("a packed pickle is found whatever packs it, and so is one behind the stream", async () => {
    expect((await scan(fixture("words.zst"), "a.zst")).verdict).toBe("clean");
    const evil = text("cos\nsystem\n(S'true'\ntR.");
    for (const packed of [fixture("words.zst"), fixture("words.lz4"), gzipSync(TEXT)])
      expect((await scan(join([packed, evil]), "a.pkl")).verdict).toBe("malicious");
    const frame = text("\x28\xb5\x2f\xfd\x20\x18");
    const raw = join([frame, Uint8Array.of((evil.length << 3) | 1, 0, 0), evil]);
    raw[5] = evil.length;
    expect((await scan(raw, "a.zst")).verdict).toBe("malicious");
    const skipped = join([text("\x5a\x2a\x4d\x18\x04\0\0\0abcd"), raw]);
    expect((await scan(skipped, "a.zst")).verdict).toBe("malicious");
  });
});

describe("7z", () => {
  test("a harmless archive is clean", async () => {
    expect((await scan(fixture("lzma2.7z"), "a.7z")).findings).toEqual([]);
  });

  test.each(["lzma", "lzma2", "copy", "deflate", "bzip2"])(
    "a pickle packed by %s is found",
    async (method) => {
      const { verdict, findings } = await scan(fixture(`evil-${method}.7z`), "a.7z");
      expect(verdict).toBe("malicious");
      expect(findings.map(({ part }) => part)).toContain("evil.pkl");
    },
  );

  test("what cannot be unpacked, hidden bytes and a damaged directory are suspicious", async () => {
    const honest = fixture("lzma2.7z");
    for (const [what, bytes] of Object.entries({
      "a method that is not ours": fixture("closed-ppmd.7z"),
      "bytes behind the directory": join([honest, text("more")]),
      "a damaged directory": honest.with(honest.length - 5, honest.at(-5)! ^ 1),
      "no directory": honest.slice(0, 32),
    }))
      expect((await scan(bytes, "a.7z")).verdict, what).toBe("suspicious");
  });
});

test("what is not opened is never clean, and the report says so, with the method's name", async () => {
  const members = (method: number) => [
    { name: "weights.bin", content: text("packed"), method, size: 100 },
  ];
  for (const [name, bytes, method] of [
    ["a.rar", join([text("Rar!\x1a\x07\x01\x00"), new Uint8Array(64)]), "rar"],
    ["a.cab", join([text("MSCF\0\0\0\0"), new Uint8Array(64)]), "cab"],
    ["a.7z", fixture("closed-ppmd.7z"), "PPMd"],
    ["a.zip", anyZip(members(98)), "PPMd"],
    ["b.zip", anyZip(members(9)), "Deflate64"],
    ["c.zip", anyZip(members(200)), "not known here"],
  ] as const) {
    const { verdict, findings } = await scan(bytes, name);
    expect(verdict, name).toBe("suspicious");
    const closed = findings.find(({ effect }) => effect.startsWith("was not opened"));
    expect(closed?.why, name).toContain(method);
  }
});

describe("HDF5", () => {
  test.each(["earliest", "latest"])("a model of plain layers is clean (%s)", async (version) => {
    expect((await scan(fixture(`dense-${version}.h5`), "m.h5")).findings).toEqual([]);
  });

  test.each(["lambda-earliest.h5", "lambda-latest.h5", "lambda-dense.h5"])(
    "%s runs code",
    async (name) => {
      expect((await scan(fixture(name), "m.h5")).verdict).toBe("malicious");
    },
  );

  test.each(["external-link.h5", "external-data.h5"])("%s reads another file", async (name) => {
    const { verdict, findings } = await scan(fixture(name), "m.h5");
    expect(verdict).toBe("malicious");
    expect(findings[0]!.effect).toContain("/etc/passwd");
  });

  test("behind a block of the user's, however long, it is found", async () => {
    const bytes = join([new Uint8Array(8192), fixture("lambda-latest.h5")]);
    expect((await scan(bytes, "m.h5")).verdict).toBe("malicious");
  });

  test("cut anywhere it is unreadable or worse, and nothing throws", async () => {
    const whole = fixture("lambda-dense.h5");
    for (let n = 12; n < whole.length; n += 97)
      expect((await scan(whole.slice(0, n), "m.h5")).verdict, String(n)).not.toBe("clean");
  });
});
