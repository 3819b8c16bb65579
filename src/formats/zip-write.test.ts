/** Archives that are written: read again by our strict reader, and by unzip where there is one. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { memorySource } from "./bytes.ts";
import { checkZipEntry, readZip, readZipEntry } from "./zip.ts";
import { type ZipFile, zipStored } from "./zip-write.ts";

const whole = (files: readonly ZipFile[]): Uint8Array =>
  new Uint8Array(Buffer.concat(zipStored(files)));
const text = (words: string): Uint8Array => new TextEncoder().encode(words);

test("what is written is what the strict reader reads, whatever the names and bytes", async () => {
  const name = fc.stringMatching(/^[\p{L}\w-]{1,12}(\/[\w.-]*[\w]){0,2}$/u);
  const file = fc.record({ name, bytes: fc.uint8Array({ maxLength: 300 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(file, { selector: (f) => f.name, maxLength: 8 }),
      async (files) => {
        const source = memorySource(whole(files));
        const entries = await readZip(source);
        expect([...entries.keys()]).toEqual(files.map((f) => f.name));
        for (const f of files) {
          const entry = entries.get(f.name)!;
          await checkZipEntry(source, entry);
          expect(await readZipEntry(source, entry)).toEqual(f.bytes);
        }
      },
    ),
    { numRuns: 60, seed: 3 },
  );
});

test("same files without times give same bytes; a time is kept to two seconds", () => {
  const file = { name: "a.txt", bytes: text("a") };
  expect(whole([file])).toEqual(whole([file]));
  const time = new Date(2026, 10, 23, 13, 45, 31).getTime();
  const view = new DataView(whole([{ ...file, time }]).buffer);
  const [clock, date] = [view.getUint16(10, true), view.getUint16(12, true)];
  expect([clock >> 11, (clock >> 5) & 63, 2 * (clock & 31)]).toEqual([13, 45, 30]);
  expect([1980 + (date >> 9), (date >> 5) & 15, date & 31]).toEqual([2026, 11, 23]);
});

test.each([
  [["a", "a"], /two files are called "a"/],
  [["../a"], /no path within/],
  [["/a"], /no path within/],
  [["a\\b"], /no path within/],
  [[""], /no path within/],
])("refuses the names %j", (names, message) => {
  const files = names.map((name) => ({ name, bytes: text("x") }));
  expect(() => zipStored(files)).toThrow(message);
});

test("refuses more files than the format counts", () => {
  const many = Array.from({ length: 65_535 }, (_, i) => ({ name: `${i}`, bytes: text("") }));
  expect(() => zipStored(many)).toThrow(/65535 files of \d+ bytes are more/);
});

const python = (() => {
  try {
    execFileSync("python3", ["--version"]);
    return true;
  } catch {
    return false;
  }
})();
test.skipIf(!python)("another program finds nothing wrong (skipped without python3)", () => {
  const folder = mkdtempSync(join(tmpdir(), "underpaint-zip-"));
  const archive = join(folder, "a.zip");
  writeFileSync(
    archive,
    whole([
      { name: "画/一.txt", bytes: text("one") },
      { name: "b", bytes: text("") },
    ]),
  );
  const program =
    "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), z.namelist() == ['画/一.txt', 'b'], z.read('画/一.txt').decode())";
  const said = execFileSync("python3", ["-c", program, archive], {
    encoding: "utf8",
    env: { ...process.env, PYTHONUTF8: "1" },
  });
  expect(said.trim()).toBe("None True one");
  rmSync(folder, { recursive: true });
});
