/** The command `edit` as a user calls it, on the embedded model. What edits do to pictures: image/edit. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodePng, encodePng } from "../formats/png.ts";
import { run } from "./program.ts";
import type { Terminal } from "./terminal.ts";

let home: string;
let face: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "underpaint-edit-"));
  face = join(home, "face.png");
  expect((await underpaint("sample", "faces/noto", "--seed", "4", "--out", face)).code).toBe(0);
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function underpaint(...args: string[]) {
  const [said, printed]: [string[], string[]] = [[], []];
  const terminal: Terminal = {
    say: (line) => void said.push(line),
    print: (line) => void printed.push(line),
    draw: () => {},
    live: false,
    columns: 80,
    dim: (text) => text,
  };
  const code = await run(args, terminal);
  return { code, said: said.join("\n"), printed };
}
const open = async (file: string) => decodePng(await readFile(join(home, file)));

describe("edit", () => {
  test("draws inside a box, keeps the rest, and notes how", async () => {
    const out = join(home, "box.png");
    const { code, said } = await underpaint(
      "edit",
      face,
      "--box",
      "0.25,0.5,0.75,1",
      "--seed",
      "2",
      "--out",
      out,
    );
    expect(code, said).toBe(0);
    expect(said).toMatch(/next: underpaint edit/);
    const [before, after] = [await open("face.png"), await open("box.png")];
    let changed = 0;
    for (let i = 0; i < 64 * 64; i++) {
      const inside = i % 64 >= 16 && i % 64 < 48 && i >= 32 * 64;
      const same = [0, 1, 2].every((c) => before.data[3 * i + c] === after.data[3 * i + c]);
      if (!inside) expect(same).toBe(true);
      else changed += same ? 0 : 1;
    }
    expect(changed).toBeGreaterThan(300);
    expect(JSON.parse(after.text.underpaint!)).toMatchObject({
      edit: { mode: "paint", blend: "seamless" },
      label: "faces/noto", // the picture's own
      seed: 2,
    });
  });

  test("takes a mask as a file, white being what is drawn", async () => {
    const mask = join(home, "mask.png");
    const white = new Uint8Array(64 * 64);
    white.fill(255, 0, 64 * 32);
    await writeFile(mask, await encodePng({ width: 64, height: 64, channels: 1, data: white }));
    const out = join(home, "masked.png");
    expect(
      (await underpaint("edit", face, "--mask", mask, "--label", "none", "--out", out)).code,
    ).toBe(0);
    const [before, after] = [await open("face.png"), await open("masked.png")];
    expect(after.data.slice(64 * 32 * 3)).toEqual(before.data.slice(64 * 32 * 3));
    expect(after.data.slice(0, 64 * 32 * 3)).not.toEqual(before.data.slice(0, 64 * 32 * 3));
  });

  test("extends the canvas and enlarges small pictures", async () => {
    const wide = join(home, "wide.png");
    expect((await underpaint("edit", face, "--extend", "16,0,0,8", "--out", wide)).code).toBe(0);
    expect(await open("wide.png")).toMatchObject({ width: 80, height: 72 });
    const small = join(home, "small.png");
    await writeFile(
      small,
      await encodePng({ width: 16, height: 16, channels: 3, data: new Uint8Array(768).fill(90) }),
    );
    const large = join(home, "large.png");
    expect((await underpaint("edit", small, "--enlarge", "--out", large)).code).toBe(0);
    expect(await open("large.png")).toMatchObject({ width: 64, height: 64 });
  });

  test("varies, and interpolates, a line of JSON per picture", async () => {
    const sheet = join(home, "vary.png");
    const varied = await underpaint(
      "edit",
      face,
      "--keep-scales",
      "4",
      "--count",
      "3",
      "--sheet",
      sheet,
      "--json",
    );
    expect(varied.printed.map((line) => JSON.parse(line).index)).toEqual([0, 1, 2]);
    const way = await underpaint(
      "edit",
      face,
      "--with",
      face,
      "--steps",
      "3",
      "--sheet",
      sheet,
      "--json",
    );
    expect(way.printed.map((line) => JSON.parse(line).mode)).toEqual(
      new Array(3).fill("interpolate"),
    );
  });

  test.each([
    [[], /what is to be drawn anew/],
    [["--box", "1,2"], /want four numbers/],
    [["--box", "0.5,0,0.4,1"], /holds no pixel/],
    [["--extend", "1.5,0,0,0"], /--extend "1.5"/],
    [["--keep-scales", "9"], /keepScales must be 0 to 7/],
    [["--box", "0,0,1,1", "--label", "zebra"], /no class "zebra"/],
    [["--box", "0,0,1,1", "--branch", "x"], /want a scale, and a name/],
    [["--box", "0,0,1,1", "--fether", "2"], /--feather/],
    [["--mask", "package.json"], /neither PNG nor JPEG nor WebP/],
  ])("refuses %j with exit code 2 and a sentence", async (args, message) => {
    const { code, said } = await underpaint("edit", face, ...args);
    expect(said).toMatch(message);
    expect(code).toBe(2);
  });
});
