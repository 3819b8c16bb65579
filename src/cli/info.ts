/** `underpaint info FILE`: what a checkpoint or a picture says of itself. Runs nothing that is in the file. */

import { existsSync } from "node:fs";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { openFile } from "../formats/node.ts";
import { decodePng } from "../formats/png.ts";
import { shellWord } from "../lab/shell-word.ts";
import { bytes, count, plural, table } from "./format.ts";
import { findModel, isModelName } from "./package.ts";
import { type Summary, summarize, type TensorRow } from "./summary.ts";
import type { Terminal } from "./terminal.ts";

/** Longer lists of tensors are shown by their first part, until --tensors asks for all. */
const MANY_TENSORS = 40;
const PNG_START = Uint8Array.of(0x89, 0x50, 0x4e, 0x47);

interface InfoFlags {
  readonly json: boolean;
  readonly tensors: boolean;
}

export function addInfo(program: Command, terminal: Terminal): void {
  program
    .command("info")
    .description("Tells what a checkpoint (.safetensors, .pth) or a picture (.png) holds")
    .argument("<file>", "The file, or a model by name; nothing in it is run")
    .option("--tensors", "List every tensor, however many there are", false)
    .option("--json", "Print one JSON object on stdout", false)
    .action(async (file: string, flags: InfoFlags) => {
      for (const path of filesOf(file)) {
        const png = await readIfPng(path);
        if (png) tellPicture(terminal, path, { png, json: flags.json });
        else tellCheckpoint(terminal, await summarize(path), flags);
      }
    });
}

/** The files that the user means: what is there by that path, else those of the model of that name. */
function filesOf(name: string): readonly string[] {
  if (existsSync(name) || !isModelName(name)) return [name];
  const { var: transformer, vqvae } = findModel(name).files;
  return transformer === vqvae ? [transformer] : [transformer, vqvae];
}

type Png = Awaited<ReturnType<typeof decodePng>>;

async function readIfPng(file: string): Promise<Png | undefined> {
  const source = await openFile(file);
  try {
    const head = await source.read(0, Math.min(4, source.size));
    if (head.length < 4 || head.some((byte, i) => byte !== PNG_START[i])) return undefined;
    return await decodePng(await source.read(0, source.size));
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${file}: ${error.message}`, error.data);
    throw error;
  } finally {
    await source.close();
  }
}

/** Text is from outside: control characters would reach the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
export const visible = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f]/g, "\ufffd");

function tellPicture(
  terminal: Terminal,
  file: string,
  { png, json }: { png: Png; json: boolean },
): void {
  const { width, height, channels, text } = png;
  const own = parameters(text.underpaint);
  if (json) {
    terminal.print(
      JSON.stringify({ file, kind: "picture", width, height, channels, text, parameters: own }),
    );
    return;
  }
  terminal.print(`${file}: picture, ${width} x ${height} pixels, ${plural(channels, "channel")}`);
  const rows = own
    ? Object.entries(own).map(([key, value]) => [key, visible(shown(value))])
    : Object.entries(text).map(([key, value]) => [visible(key), visible(value)]);
  terminal.print(rows.length > 0 ? table(rows) : "it has no text");
  if (own) terminal.say(terminal.dim(`next: ${sampleAgain(own)}`));
}

function parameters(text: string | undefined): Record<string, unknown> | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined; // shown as the text it is
  }
}

const shown = (value: unknown): string =>
  typeof value === "string" ? value : JSON.stringify(value);

/** What a picture notes as numbers, and the flag of `sample` that says it. */
const SAMPLE_FLAGS: Readonly<Record<string, string>> = {
  seed: "--seed",
  index: "--first",
  guidance: "--guidance",
  topK: "--top-k",
  topP: "--top-p",
  temperature: "--temperature",
};

/** The command that makes such a picture. Values are from outside: only what is a plain word goes in. */
function sampleAgain({ model, label, ...settings }: Record<string, unknown>): string {
  const words = ["underpaint sample"];
  if (typeof label === "string") words.push(shellWord(visible(label)));
  if (typeof model === "string") words.push(`--model ${shellWord(visible(model))}`);
  for (const [key, flag] of Object.entries(SAMPLE_FLAGS)) {
    const value = settings[key];
    if (typeof value === "number" && Number.isFinite(value)) words.push(`${flag} ${value}`);
  }
  if (settings.smooth === true) words.push("--smooth");
  if (settings.precision === "int8") words.push("--precision int8");
  return words.join(" ");
}

const KINDS: Readonly<Record<Summary["kind"], string>> = {
  var: "VAR transformer",
  vqvae: "multi-scale VQVAE (tokenizer)",
  "trainer checkpoint": "checkpoint of the official trainer, with a VAR transformer",
  "training state": "state of a training run",
  tensors: "tensors of no model known here",
};

function tellCheckpoint(terminal: Terminal, summary: Summary, flags: InfoFlags): void {
  if (flags.json) {
    terminal.print(JSON.stringify(summary));
    return;
  }
  const { file, size, format, kind, parameters, config, classes, drawing, tensors } = summary;
  const { metadata, doubt } = summary;
  terminal.print(`${visible(file)}: ${KINDS[kind]}`);
  terminal.print(
    table([
      ["format", `${format}, ${bytes(size)}`],
      ["values", `${count(parameters)} in ${plural(tensors.length, "tensor")}`],
      ...(config ? Object.entries(config).map(([key, value]) => [key, visible(shown(value))]) : []),
      ...(classes ? [["names", visible(classes.join(", "))]] : []),
      ...(drawing ? [["drawing", visible(JSON.stringify(drawing))]] : []),
      ...Object.entries(metadata)
        .filter(([key]) => key !== "underpaint")
        .map(([key, value]) => [visible(key), visible(value).slice(0, 200)]),
    ]),
  );
  if (doubt) terminal.say(`its configuration cannot be told: ${visible(doubt)}`);
  const grouped = tensors.length > MANY_TENSORS && !flags.tensors;
  terminal.print("");
  terminal.print(grouped ? groupTable(tensors) : tensorTable(tensors));
  if (grouped) terminal.say(terminal.dim(`next: underpaint info ${shellWord(file)} --tensors`));
  else if (kind === "vqvae")
    terminal.say(terminal.dim(`next: underpaint train var DATA --tokenizer ${shellWord(file)}`));
  else if (kind === "var")
    terminal.say(terminal.dim(`next: underpaint sample --model ${shellWord(file)}`));
}

const tensorTable = (tensors: readonly TensorRow[]): string =>
  table(
    tensors.map((t) => [visible(t.name), t.dtype, `[${t.shape.join(", ")}]`, bytes(t.bytes)]),
    { right: [3] },
  );

/** Tensors by the part of their names that stays when numbers count up. */
function groupTable(tensors: readonly TensorRow[]): string {
  const groups = new Map<string, { tensors: number; bytes: number }>();
  for (const { name, bytes: own } of tensors) {
    const parts = name.split(".");
    const key = parts.length > 2 ? `${parts.slice(0, 2).join(".")}.*` : name;
    const group = groups.get(key) ?? { tensors: 0, bytes: 0 };
    groups.set(key, { tensors: group.tensors + 1, bytes: group.bytes + own });
  }
  return table(
    [...groups].map(([name, g]) => [visible(name), plural(g.tensors, "tensor"), bytes(g.bytes)]),
    { right: [1, 2] },
  );
}
