/** Pictures in the terminal: which way is taken, and that what is written is the picture. */

import { expect, test } from "vitest";
import { decodePng } from "../formats/png.ts";
import type { Picture } from "../image/sheet.ts";
import type { Terminal } from "./terminal.ts";
import { terminalPicture, watching, wayOf } from "./terminal-picture.ts";

const picture: Picture = {
  width: 2,
  height: 3,
  channels: 3,
  data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 13, 14, 15),
};

test.each([
  [{ TERM: "xterm-256color" }, "blocks"],
  [{ TERM: "xterm-kitty" }, "kitty"],
  [{ TERM: "screen", KITTY_WINDOW_ID: "1" }, "blocks"],
  [{ TERM: "xterm", TERM_PROGRAM: "iTerm.app" }, "iterm"],
  [{ TERM: "xterm", NO_COLOR: "1" }, "none"],
  [{ TERM: "dumb" }, "none"],
])("%o shows pictures as %s", (env, way) => {
  expect(wayOf(env)).toBe(way);
});

test("blocks hold every pixel: upper ones as colours, lower ones as backgrounds", async () => {
  const text = await terminalPicture(picture, "blocks");
  const lines = text.trimEnd().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toBe(
    "\x1b[38;2;1;2;3m\x1b[48;2;7;8;9m▀\x1b[38;2;4;5;6m\x1b[48;2;10;11;12m▀\x1b[0m",
  );
  // The last row has no pixel below, and equal neighbours share their colours.
  expect(lines[1]).toBe("\x1b[38;2;13;14;15m\x1b[49m▀▀\x1b[0m");
});

test.each(["kitty", "iterm"] as const)("%s is sent a PNG of the picture", async (way) => {
  const text = await terminalPicture(picture, way);
  // Kitty: pieces between ";" and the escape that ends them; iTerm: all between ":" and the bell.
  const [from, to] = way === "kitty" ? [";", "\x1b\\"] : [":", "\x07"];
  const payload = text.split(to).flatMap((piece) => piece.split(from).slice(1, 2));
  const png = await decodePng(new Uint8Array(Buffer.from(payload.join(""), "base64")));
  expect(png.data).toEqual(picture.data);
});

test("a growing picture is drawn over itself, beside as many others as fit", async () => {
  const drawn: string[] = [];
  const terminal = { live: true, columns: 9, draw: (text: string) => void drawn.push(text) };
  const shown = watching(terminal as unknown as Terminal, { TERM: "xterm" });
  await shown.show([picture, picture, picture], { fresh: true });
  await shown.show([picture, picture, picture], { fresh: false });
  // Cells are 2 pixels wide and 3 high, with 2 around: 7 rows of pixels, 4 of text.
  expect(drawn[0]!.split("\n")).toHaveLength(5);
  expect(drawn[1]).toBe(`\x1b[4A${drawn[0]}`);
  // Two of them fit into 9 columns, with a gap each, and a gap before them.
  expect(drawn[0]!.split("\n")[0]!.match(/▀/g)!.length).toBe(10);
});
