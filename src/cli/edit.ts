/** `underpaint edit`: parts of a picture drawn anew, and its other kinds of change. What is drawn is image/edit's. */

import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import { readPictureFile } from "../data/picture-file.ts";
import { greyOf } from "../data/picture-pixels.ts";
import { InputError } from "../formats/errors.ts";
import { sameSize } from "../formats/picture-size.ts";
import { decodePng } from "../formats/png.ts";
import { withDrawing } from "../image/drawing.ts";
import { BLENDS, type Blend } from "../image/edit/blend.ts";
import { type CanvasStep, extend, paintCanvas } from "../image/edit/canvas.ts";
import { type EditOptions, enlarge, paint, vary } from "../image/edit/edit.ts";
import { COURSES, type Course, interpolate } from "../image/edit/interpolate.ts";
import { type Box, boxMask, type Mask, maskFromAlpha, maskFromGrey } from "../image/edit/mask.ts";
import { findLabel, type Label } from "../image/labels.ts";
import type { Var } from "../image/model.ts";
import { loadVarFrom } from "../image/node.ts";
import type { ScaleStep } from "../image/sampler.ts";
import type { Picture } from "../image/sheet.ts";
import { shellWord } from "../lab/shell-word.ts";
import { type DrawingFlags, drawingFlags } from "./drawing-flags.ts";
import { interruptible } from "./errors.ts";
import { numberFlag, readNumber } from "./flags.ts";
import { duration, plural } from "./format.ts";
import { DEFAULT_MODEL, findModel, modelHash, VERSION } from "./package.ts";
import { type Outputs, openOutput } from "./pictures.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

interface EditFlags extends DrawingFlags, Outputs {
  readonly mask?: string;
  readonly box?: Box;
  readonly outside: boolean;
  readonly extend?: readonly [number, number, number, number];
  readonly keepScales?: number;
  readonly enlarge: boolean;
  readonly with?: string;
  readonly steps: number;
  readonly course: Course;
  readonly label?: string;
  readonly count: number;
  readonly blend: Blend;
  readonly feather?: number;
  readonly context: number;
  readonly json: boolean;
}

/** What is to be done, and with what. */
interface Job {
  readonly model: Var;
  readonly picture: Picture;
  readonly flags: EditFlags;
  readonly options: EditOptions;
}

/** Pictures on their way; `pictures` are asked for when the scale is wanted. */
interface Step {
  readonly done: number;
  readonly pictures: () => Promise<readonly Picture[]>;
}

interface Mode {
  /** As it is called in errors and in the pictures' notes. */
  readonly name: string;
  /** Flags that ask for it. */
  readonly asked: (flags: EditFlags) => boolean;
  readonly run: (job: Job) => AsyncGenerator<Step>;
}

/** One of them is done, the first that is asked for. */
const MODES: readonly Mode[] = [
  { name: "interpolate", asked: (flags) => flags.with !== undefined, run: runInterpolate },
  { name: "enlarge", asked: (flags) => flags.enlarge, run: runEnlarge },
  { name: "extend", asked: (flags) => flags.extend !== undefined, run: runExtend },
  {
    name: "paint",
    asked: ({ mask, box }) => mask !== undefined || box !== undefined,
    run: runPaint,
  },
  { name: "vary", asked: (flags) => flags.keepScales !== undefined, run: runVary },
];

export function addEdit(program: Command, terminal: Terminal): void {
  const command = program
    .command("edit")
    .description("Draws a part of a picture anew; varies, extends, enlarges or mixes pictures")
    .argument("<image>", "PNG, JPEG or WebP")
    .option(
      "--mask <file>",
      "What is drawn: white, or transparent where the file has transparency; as large as the picture",
    )
    .addOption(
      new Option(
        "--box <l,t,r,b>",
        "What is drawn, as shares of the picture from 0 to 1",
      ).argParser(readBox),
    )
    .option("--outside", "Draw around the box instead of inside", false)
    .option(
      "--label <label>",
      "What to draw: a class as for sample; default none (or, for a picture of ours, its own)",
    )
    .addOption(
      new Option("--extend <l,t,r,b>", "Out-painting: pixels to add on each side").argParser(
        readSides,
      ),
    );
  numberFlag(command, "--keep-scales <n>", {
    sentence: "This many coarse scales stay the picture's own; without mask or box: variations",
    unit: "scales",
    min: 0,
    max: 100,
  });
  command
    .option("--enlarge", "Super-resolution: a small square picture to the model's size", false)
    .option("--with <image>", "Interpolation: the way from the picture to this one");
  numberFlag(command, "--steps <n>", {
    sentence: "Pictures of the way, both ends included",
    min: 2,
    max: 256,
    fallback: 8,
  });
  command.addOption(
    new Option("--course <name>", "Which scales of the way go first")
      .choices(Object.keys(COURSES))
      .default("together"),
  );
  numberFlag(command, "-n, --count <n>", {
    sentence: "How many results",
    unit: "pictures",
    min: 1,
    max: 256,
    fallback: 1,
  });
  command.addOption(
    new Option("--blend <name>", "How kept and drawn pixels meet")
      .choices(Object.keys(BLENDS))
      .default("seamless"),
  );
  numberFlag(command, "--feather <n>", {
    sentence:
      "Softness of the edge, reaching into what is drawn; default 2, less where that is thin",
    unit: "pixels",
    real: true,
    min: 0,
    max: 1024,
  });
  numberFlag(command, "--context <n>", {
    sentence:
      "In a picture larger than the model's: side of what the model sees over that of the hole",
    real: true,
    min: 1,
    max: 100,
    fallback: 1.6,
  });
  drawingFlags(command);
  command
    .option(
      "--out <path>",
      "A file for one picture (name.png), a folder for more; default the folder out",
    )
    .option("--sheet <file>", "One picture of all results, side by side")
    .option("--scales <file>", "One picture of every scale, a row per result")
    .option("--json", "Print one JSON object per picture on stdout", false)
    .action((image: string, flags: EditFlags) =>
      interruptible((signal) => run(terminal, { image, flags, signal })),
    );
}

async function run(
  terminal: Terminal,
  { image, flags, signal }: { image: string; flags: EditFlags; signal: AbortSignal },
): Promise<void> {
  const begin = performance.now();
  const mode = MODES.find(({ asked }) => asked(flags));
  if (!mode)
    throw new InputError(
      "what is to be drawn anew? give --mask FILE, --box l,t,r,b, --extend l,t,r,b, --keep-scales N, --enlarge or --with IMAGE",
    );
  const count = mode.name === "interpolate" ? flags.steps : flags.count;
  const output = openOutput(flags, count);
  const bytes = await readFile(image);
  const picture = await readPicture(bytes, image);
  const place = findModel(flags.model, { vqvae: flags.tokenizer });
  const model = await loadVarFrom(place.files, { threads: flags.threads });
  try {
    const label = await labelOf(model, { flags, bytes });
    const drawing = withDrawing(model.drawing, flags);
    const { seed, first, branch: branches } = flags;
    const options = { ...drawing, label, seed, first, branches, count, signal };
    const shown = progress(terminal, {
      of: 1000,
      what: `${mode.name}: drawing ${plural(count, "picture")}`,
    });
    const scales: (readonly Picture[])[] = [];
    try {
      for await (const step of mode.run({ model, picture, flags, options })) {
        if (flags.scales !== undefined || step.done === 1) scales.push(await step.pictures());
        shown.update(Math.round(1000 * step.done));
        await new Promise((resolve) => setImmediate(resolve)); // Ctrl-C gets its turn
      }
    } finally {
      shown.clear();
    }
    const [number = model.labels.length] = label === null ? [] : findLabel(model.labels, label);
    const name = model.labels[number] ?? "none";
    const settings = {
      format: 1,
      version: VERSION,
      model: flags.model,
      modelHash: await modelHash(place),
      edit: {
        mode: mode.name,
        keepScales: flags.keepScales,
        blend: flags.blend,
        feather: flags.feather,
      },
      ...(branches.length ? { branches } : {}),
      seed,
      ...drawing,
      smooth: false,
      precision: model.precision,
    } as const;
    for (let i = 0; i < scales.at(-1)!.length; i++) {
      const made = {
        index: first + i,
        label: name,
        class: number,
        pictures: scales.map((all) => all[i]!),
      };
      const file = await output.add(made, settings);
      const { pictures: _, ...facts } = made;
      if (flags.json) terminal.print(JSON.stringify({ ...facts, mode: mode.name, seed, file }));
    }
    const files = await output.finish(settings);
    terminal.say(
      `${plural(count, "picture")} in ${duration(performance.now() - begin)}: ${files.join(", ")}`,
    );
    terminal.say(terminal.dim(`next: ${nextCommand(image, flags)}`));
  } finally {
    await model.release();
  }
}

/** The flag, or what a picture of ours says it is, or no class. */
async function labelOf(
  model: Var,
  { flags, bytes }: { flags: EditFlags; bytes: Uint8Array },
): Promise<Label> {
  const { label } = flags;
  if (label === "none") return null;
  if (label !== undefined) {
    const number = /^\d+$/.test(label) && !model.labels.includes(label);
    const wanted = number ? readNumber("--label", label, { min: 0 }) : label;
    findLabel(model.labels, wanted);
    return wanted;
  }
  const text = await decodePng(bytes).then(
    (png) => png.text.underpaint,
    () => undefined,
  );
  try {
    const { label: own } = JSON.parse(text ?? "{}") as { label?: unknown };
    return typeof own === "string" && model.labels.includes(own) ? own : null;
  } catch {
    return null;
  }
}

async function readPicture(bytes: Uint8Array, what: string): Promise<Picture> {
  const { width, height, data } = await readPictureFile(bytes, { what, maxPixels: 50_000_000 });
  return { width, height, channels: 3, data };
}

async function readMask({ mask, box, outside }: EditFlags, picture: Picture): Promise<Mask> {
  if (box) return boxMask(box, picture, { outside });
  const file = await readPictureFile(await readFile(mask!), { what: mask!, maxPixels: 50_000_000 });
  const { width, height, alpha } = file;
  return file.transparent
    ? maskFromAlpha({ width, height, alpha })
    : maskFromGrey({ width, height, grey: greyOf(file) });
}

// ---- the modes

const ofScales = async function* (steps: AsyncGenerator<ScaleStep>): AsyncGenerator<Step> {
  for await (const { scale, of, pictures } of steps) yield { done: (scale + 1) / of, pictures };
};

/** Canvases are drawn one after the other. */
async function* ofCanvases(
  { options }: Job,
  draw: (one: EditOptions) => AsyncGenerator<CanvasStep>,
): AsyncGenerator<Step> {
  const { count = 1, first = 0 } = options;
  const results: Picture[] = [];
  for (let i = 0; i < count; i++)
    for await (const { done, picture } of draw({ ...options, count: 1, first: first + i })) {
      if (done === 1) results.push(picture);
      const all = (i + done) / count;
      if (count === 1 || all === 1)
        yield { done: all, pictures: async () => (all === 1 ? results : [picture]) };
    }
}

async function* runPaint(job: Job): AsyncGenerator<Step> {
  const { model, picture, flags, options } = job;
  const mask = await readMask(flags, picture);
  const { blend, feather, keepScales, context } = flags;
  const how = { mask, blend, feather, keepScales };
  if (sameSize(picture, model.size)) yield* ofScales(paint(model, picture, { ...options, ...how }));
  else yield* ofCanvases(job, (one) => paintCanvas(model, picture, { ...one, ...how, context }));
}

async function* runExtend(job: Job): AsyncGenerator<Step> {
  const { model, picture, flags } = job;
  const [left, top, right, bottom] = flags.extend!;
  const { blend, feather } = flags;
  yield* ofCanvases(job, (one) =>
    extend(model, picture, { ...one, left, top, right, bottom, blend, feather }),
  );
}

async function* runVary({ model, picture, flags, options }: Job): AsyncGenerator<Step> {
  yield* ofScales(vary(model, picture, { ...options, keepScales: flags.keepScales! }));
}

async function* runEnlarge({ model, picture, flags, options }: Job): AsyncGenerator<Step> {
  yield* ofScales(enlarge(model, picture, { ...options, keepScales: flags.keepScales }));
}

async function* runInterpolate({ model, picture, flags, options }: Job): AsyncGenerator<Step> {
  const other = await readPicture(await readFile(flags.with!), flags.with!);
  const { steps, course, keepScales } = flags;
  const { count: _, first: __, ...rest } = options;
  yield* ofScales(interpolate(model, [picture, other], { ...rest, steps, course, keepScales }));
}

// ---- flags

function numbersOf(flag: string, text: string, { real }: { real: boolean }): number[] {
  const parts = text.split(",");
  if (parts.length !== 4)
    throw new InputError(
      `${flag} ${JSON.stringify(text)}: want four numbers, left,top,right,bottom`,
      { text },
    );
  return parts.map((part) => readNumber(flag, part, { real, min: 0 }));
}

function readBox(text: string): Box {
  const [left, top, right, bottom] = numbersOf("--box", text, { real: true });
  return { left: left!, top: top!, right: right!, bottom: bottom! };
}

const readSides = (text: string) => numbersOf("--extend", text, { real: false });

function nextCommand(image: string, { model, keepScales }: EditFlags): string {
  const named = model === DEFAULT_MODEL ? "" : ` --model ${shellWord(model)}`;
  return `underpaint edit ${shellWord(image)}${named} --keep-scales ${keepScales === undefined ? 4 : keepScales + 1} --count 8 --sheet variations.png`;
}
