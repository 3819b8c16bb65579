/** Pictures in the terminal: half blocks in 24-bit colour, or the real thing where the terminal can. Knows no sampler. */

import { encodePng } from "../formats/png.ts";
import { type Picture, sheet } from "../image/sheet.ts";
import type { Progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** How a terminal shows pictures. */
export const WAYS = ["kitty", "iterm", "blocks", "none"] as const;
export type Way = (typeof WAYS)[number];

type Env = Readonly<Record<string, string | undefined>>;

/** First rule that holds decides; multiplexers pass no picture protocol through. */
const RULES: readonly (readonly [way: Way, holds: (env: Env) => boolean])[] = [
  ["none", (env) => env.TERM === "dumb" || Boolean(env.NO_COLOR)],
  ["blocks", (env) => Boolean(env.TMUX) || /^(screen|tmux)/.test(env.TERM ?? "")],
  ["kitty", (env) => Boolean(env.KITTY_WINDOW_ID) || /kitty|ghostty/.test(env.TERM ?? "")],
  ["iterm", (env) => /^(iTerm\.app|WezTerm)$/.test(env.TERM_PROGRAM ?? "")],
  ["blocks", () => true],
];

export const wayOf = (env: Env): Way => RULES.find(([, holds]) => holds(env))![0];

const ESC = "\x1b";
const RESET = `${ESC}[0m`;
/** Kitty takes base64 in pieces of at most this. */
const PIECE = 4096;

/** Rows of text that a picture takes. */
export const rowsOfText = ({ height }: Picture): number => Math.ceil(height / 2);

/** A picture as text to be written at the start of a line; it ends at the start of the next one. */
export async function terminalPicture(picture: Picture, way: Way): Promise<string> {
  return WRITERS[way](picture);
}

const WRITERS: Readonly<Record<Way, (picture: Picture) => string | Promise<string>>> = {
  none: () => "",
  blocks,
  /** https://sw.kovidgoyal.net/kitty/graphics-protocol: PNG (f=100), shown at once (a=T), as many rows as the blocks. */
  kitty: async (picture) => {
    const data = await base64Png(picture);
    const pieces = data.match(new RegExp(`.{1,${PIECE}}`, "g"))!;
    const sent = pieces.map((piece, i) => {
      const head = i === 0 ? `a=T,f=100,q=2,r=${rowsOfText(picture)},` : "";
      return `${ESC}_G${head}m=${i < pieces.length - 1 ? 1 : 0};${piece}${ESC}\\`;
    });
    return `${sent.join("")}\n`;
  },
  /** https://iterm2.com/documentation-images.html: inline, as many rows as the blocks. */
  iterm: async (picture) =>
    `${ESC}]1337;File=inline=1;height=${rowsOfText(picture)}:${await base64Png(picture)}\x07\n`,
};

const base64Png = async (picture: Picture): Promise<string> =>
  Buffer.from(await encodePng(picture)).toString("base64");

/** Two pixels a character: the upper one as its colour, the lower one as its background. */
function blocks({ width, height, data }: Picture): string {
  const colour = (x: number, y: number) => {
    const at = (y * width + x) * 3;
    return `${data[at]};${data[at + 1]};${data[at + 2]}`;
  };
  const lines: string[] = [];
  for (let y = 0; y < height; y += 2) {
    let [line, before] = ["", ""];
    for (let x = 0; x < width; x++) {
      const lower = y + 1 < height ? `${ESC}[48;2;${colour(x, y + 1)}m` : `${ESC}[49m`;
      const style = `${ESC}[38;2;${colour(x, y)}m${lower}`;
      line += style === before ? "▀" : `${style}▀`;
      before = style;
    }
    lines.push(`${line}${RESET}\n`);
  }
  return lines.join("");
}

/** Moves the cursor to where a picture of that many rows began, so that the next one is drawn over it. */
const backOver = (rows: number): string => `${ESC}[${rows}A`;

/** Pictures that grow in one place of the terminal; stands where a progress bar would. */
export interface Watching extends Progress {
  /** As many of the pictures as stand side by side; `fresh` begins a new place below. */
  show(pictures: readonly Picture[], options: { fresh: boolean }): Promise<void>;
}

/** Where lines cannot be drawn over, only the last scale could be shown: then nothing is. */
export function watching(terminal: Terminal, env: Env = process.env): Watching {
  const way = terminal.live ? wayOf(env) : "none";
  let rows = 0;
  return {
    update() {},
    clear() {},
    async show(pictures, { fresh }) {
      const [first] = pictures;
      if (way === "none" || !first) return;
      const columns = Math.max(
        1,
        Math.min(pictures.length, Math.floor(terminal.columns / (first.width + GAP))),
      );
      const together = sheet(pictures.slice(0, columns), { columns, gap: GAP });
      const text = await terminalPicture(together, way);
      terminal.draw(`${fresh ? "" : backOver(rows)}${text}`);
      rows = rowsOfText(together);
    },
  };
}

/** Pixels between pictures that stand side by side. */
const GAP = 2;
