/** Finished pictures to PNG files: one each, a contact sheet, a strip of scales, with how they were made. */

import { mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { encodePng } from "../formats/png.ts";
import type { Branch } from "../image/orders.ts";
import type { Precision } from "../image/precision.ts";
import { type Picture, sheet } from "../image/sheet.ts";

/** Where pictures go. */
export interface Outputs {
  readonly out?: string;
  readonly sheet?: string;
  readonly scales?: string;
}

/** How pictures were made; written into each. Nothing here may change between two equal commands. */
export interface Settings {
  readonly format: 1;
  readonly version: string;
  readonly model: string;
  readonly modelHash: string;
  readonly seed: number;
  readonly guidance: number;
  readonly topK: number;
  readonly topP: number;
  readonly temperature: number;
  readonly smooth: boolean;
  readonly precision: Precision;
  /** Where chance went another way; absent where it did not. */
  readonly branches?: readonly Branch[];
  /** Of several candidates a classifier chose this one. */
  readonly rejection?: {
    readonly share: number;
    readonly classifier: string;
    readonly hash: string;
  };
}

/** One finished picture. */
export interface Made {
  /** Number within its seed. */
  readonly index: number;
  readonly label: string;
  readonly class: number;
  /** The picture at each scale that was asked for; the last is the picture. */
  readonly pictures: readonly Picture[];
}

export interface Output {
  /** Takes a picture; returns its own file where it has one. */
  add(made: Made, settings: Settings): Promise<string | undefined>;
  /** Writes what is made of all; returns every place that was written. */
  finish(settings: Settings): Promise<string[]>;
}

const DEFAULT_FOLDER = "out";
/** Larger sheets would be pictures that nothing can show. */
const MAX_SHEET = 4096;
const MAX_STRIPS = 256;
/** The strip shows small pictures large enough to see the first scales. */
const ZOOM = 2;

/** Checks where `count` pictures are to go, before any is drawn. @throws InputError */
export function openOutput(outputs: Outputs, count: number): Output {
  const { sheet: sheetFile, scales: scalesFile } = outputs;
  atMost("--sheet", sheetFile, { count, most: MAX_SHEET });
  atMost("--scales", scalesFile, { count, most: MAX_STRIPS });
  const nowhere = outputs.out === undefined && !sheetFile && !scalesFile;
  const out = nowhere ? DEFAULT_FOLDER : outputs.out;
  const single = out?.toLowerCase().endsWith(".png") ?? false;
  if (single && count > 1)
    throw new InputError(
      `--out ${out} is one file and there are ${count} pictures; name a folder, or use --sheet ${out}`,
      { out, count },
    );
  for (const file of [sheetFile, scalesFile, single ? out : undefined]) checkFile(file);
  const kept: Made[] = [];
  const places = new Set<string>();
  return {
    async add(made, settings) {
      if (sheetFile || scalesFile) kept.push(made);
      if (out === undefined) return undefined;
      const file = single ? out : join(out, fileName(made, settings));
      const { index, label, class: number } = made;
      await write(file, made.pictures.at(-1)!, { ...settings, label, class: number, index });
      places.add(single ? file : `${out}/`);
      return file;
    },
    async finish(settings) {
      const contents = {
        labels: kept.map(({ label }) => label),
        indices: kept.map(({ index }) => index),
      };
      if (sheetFile) {
        const finals = kept.map(({ pictures }) => pictures.at(-1)!);
        await write(sheetFile, sheet(finals), {
          ...settings,
          ...contents,
          columns: columnsOf(count),
        });
        places.add(sheetFile);
      }
      if (scalesFile) {
        const columns = kept[0]!.pictures.length;
        const all = kept.flatMap(({ pictures }) => pictures);
        await write(scalesFile, sheet(all, { columns, zoom: ZOOM }), {
          ...settings,
          ...contents,
          columns,
        });
        places.add(scalesFile);
      }
      return [...places];
    },
  };
}

/** As `sheet` arranges them. */
const columnsOf = (count: number): number => Math.ceil(Math.sqrt(count));

const fileName = ({ index, label }: Made, { seed }: Settings): string =>
  `${seed}-${String(index).padStart(5, "0")}-${label.replace(/[^\w.-]+/g, "-")}.png`;

async function write(file: string, picture: Picture, parameters: object): Promise<void> {
  mkdirSync(dirname(file), { recursive: true });
  await writeFileAtomic(
    file,
    await encodePng(picture, { text: { underpaint: JSON.stringify(parameters) } }),
  );
}

function atMost(
  flag: string,
  file: string | undefined,
  { count, most }: { count: number; most: number },
): void {
  if (file !== undefined && count > most)
    throw new InputError(
      `${flag} takes at most ${most} pictures, got ${count}; use --out FOLDER, or a smaller --count`,
      { count, most },
    );
}

function checkFile(file: string | undefined): void {
  if (file === undefined) return;
  if (file === "" || statSync(file, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError(`${JSON.stringify(file)} is a folder; name a file such as sheet.png`, {
      file,
    });
}
