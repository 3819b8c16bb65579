/** Configuration files as text: JSON, YAML, templates. Finds what makes a loader run code; checks no schema. */

import { danger } from "./danger.ts";
import { isTemplate } from "./jinja.ts";
import { judgeKerasJson } from "./keras.ts";
import { found, type Part, peek, unreadable } from "./part.ts";
import { shown } from "./report.ts";
import { scanSafetensorsIndex } from "./safetensors.ts";
import { baseOf, encodingOf, type Head } from "./sniff.ts";
import { scanTexts } from "./texts.ts";

const MAX_TEXT = 32 * 2 ** 20;

/** Endings under which templates lie alone. */
const TEMPLATES = new Set(["jinja", "jinja2", "j2", "template", "tmpl", "tpl"]);
const YAML = new Set(["yaml", "yml"]);
const JSONS = new Set(["json", "jsonl", "json5", "ipynb", "webmanifest"]);
const OTHERS = new Set(["toml", "cfg", "ini", "conf", "config"]);

export async function scanText(part: Part, head: Head): Promise<void> {
  const { ending } = head;
  const raw = await peek(part.source, 0, MAX_TEXT);
  const text = new TextDecoder(encodingOf(raw)).decode(raw);
  if (part.source.size > MAX_TEXT && (JSONS.has(ending) || YAML.has(ending)))
    unreadable(part, `only the first ${MAX_TEXT} bytes of the text were read`);
  const start = /^\s*(.)/s.exec(text.slice(0, 4096))?.[1];
  if (/\.safetensors\.index\.json$/i.test(head.name)) await scanSafetensorsIndex(part);
  if (TEMPLATES.has(ending)) scanTexts(part, baseOf(head.name), text);
  else if (JSONS.has(ending) || start === "{" || start === "[")
    scanJson(part, text, ending === "json");
  else if (YAML.has(ending) || OTHERS.has(ending) || /^(%YAML|---|\w[\w.-]*:\s)/.test(text))
    scanYaml(part, text);
  if (/!{1,2}<?[\w:.,]*python[/:]/.test(text) && !YAML.has(ending) && !JSONS.has(ending))
    scanYaml(part, text);
}

// ---- keys and values --------------------------------------------------------------------------

/** Keys that make a loader run code. The value decides how bad it is. */
const KEYS: Readonly<Record<string, (part: Part, value: string, at: number) => void>> = {
  auto_map: (part, value, at) =>
    void found(part, "remote-code", {
      severity: "suspicious",
      at,
      effect: "makes the loader import Python files that come with the model",
      why: `auto_map${value ? ` names ${shown(value, 80)}` : ""}`,
    }),
  custom_pipelines: (part, _value, at) =>
    void found(part, "remote-code", {
      severity: "suspicious",
      at,
      effect: "makes the loader import Python files that come with the model",
      why: "custom_pipelines",
    }),
  _target_: (part, value, at) => target(part, "_target_", value, at),
  "py/object": (part, value, at) => target(part, "py/object", value, at),
  "py/reduce": (part, value, at) => target(part, "py/reduce", value, at),
  "py/function": (part, value, at) => target(part, "py/function", value, at),
  "py/type": (part, value, at) => target(part, "py/type", value, at),
  "py/repr": (part, value, at) => target(part, "py/repr", value || "builtins.eval", at),
};

/** Classes that configurations of training name all the time. */
const USUAL =
  /^(torch\.(nn|optim|utils\.data)\.|torchvision\.|torchaudio\.|torchmetrics\.|pytorch_lightning\.|lightning\.|transformers\.|diffusers\.|timm\.|omegaconf\.|hydra\.core\.)/;

/** A dotted path that a loader imports and calls. */
function target(part: Part, key: string, value: string, at: number): void {
  if (USUAL.test(value)) return;
  const dot = value.lastIndexOf(".");
  const { severity, would } = danger(
    dot < 0 ? "builtins" : value.slice(0, dot),
    value.slice(dot + 1),
  );
  const own = dot > 0 && severity === "suspicious";
  found(part, "config-target", {
    severity: own ? "suspicious" : "malicious",
    at,
    effect: `calls ${shown(value, 80)} when it is instantiated, which can ${would}`,
    why: `${key} names something that is not a class of a known library`,
  });
}

function pair(part: Part, key: string, value: string, at: number): void {
  if (Object.hasOwn(KEYS, key)) KEYS[key]!(part, value, at);
  scanTexts(part, key, value, at);
}

// ---- JSON -------------------------------------------------------------------------------------

/** All texts in order, without a tree: depth, doubled keys and damage cannot hide any. */
function scanJson(part: Part, text: string, strict: boolean): void {
  const literal = /"(?:[^"\\]|\\[\s\S])*"/g;
  let key = "";
  const seen: { lambda: boolean } = { lambda: false };
  for (let match = literal.exec(text); match; match = literal.exec(text)) {
    const value = unescapeJson(match[0]);
    const after = /\s*(.)/sy;
    after.lastIndex = literal.lastIndex;
    const next = after.exec(text)?.[1];
    if (next === ":") {
      key = value;
      const rest = text.slice(after.lastIndex, after.lastIndex + 64).trimStart();
      // In a vocabulary every word may be a key; its value is a number.
      if (/^[{[]/.test(rest) && Object.hasOwn(KEYS, key)) pair(part, key, "", match.index);
      if (key === "trust_remote_code" && rest.startsWith("true"))
        KEYS.auto_map!(part, "trust_remote_code", match.index);
    } else pair(part, key, value, match.index);
    if (isTemplate(value) && next === ":") scanTexts(part, "key", value, match.index);
  }
  if (/"class_name"/.test(text)) judgeKerasJson(part, text, { found: seen });
  if (!strict || text.length > 4_000_000) return;
  try {
    JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    unreadable(part, `the JSON is damaged: ${shown(String((error as Error).message), 100)}`);
  }
}

function unescapeJson(literal: string): string {
  try {
    return JSON.parse(
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
      literal.replace(/[\0-\x1f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
    );
  } catch {
    return literal.slice(1, -1);
  }
}

// ---- YAML -------------------------------------------------------------------------------------

/** Tags that make PyYAML's unsafe loaders, and older tools, run code. */
const TAG = /(?:^|[\s[{,:-])(!<[^>\s]{0,200}>|!!?[^\s,[\]{}"'>]{0,200})/gm;
const PYTHON_TAG = /python[/:]|^!<?tag:yaml\.org,2002:python/i;
const CODE_TAG = /^!(obj|import|pkl|call|eval|exec|new|name|apply|module|func|lambda|py)\b/i;
/** %TAG !x! tag:yaml.org,2002:python/ gives the prefix another name. */
const TAG_NAMES = /^%TAG\s+(\S+)\s+(\S*python\S*|tag:yaml\.org,2002:)\s*$/gim;

function scanYaml(part: Part, text: string): void {
  const plain = text.replace(/(^|\s)#[^\n]*/g, (all) => " ".repeat(all.length));
  for (const match of plain.matchAll(TAG)) {
    const tag = decodeURIComponentSafe(match[1]!);
    const at = match.index + match[0].length - match[1]!.length;
    if (PYTHON_TAG.test(tag) || CODE_TAG.test(tag))
      found(part, "yaml-tag", {
        severity: "malicious",
        at,
        effect: `makes YAML loaders build ${shown(tag.replace(/^.*python[/:]/i, ""), 80)}`,
        why: `the tag ${shown(tag, 80)}`,
      });
  }
  for (const match of plain.matchAll(TAG_NAMES))
    found(part, "yaml-tag", {
      severity: /python/i.test(match[2]!) ? "malicious" : "suspicious",
      at: match.index,
      effect: "gives tags that run code another name",
      why: shown(match[0], 80),
    });
  for (const { key, value, at } of yamlScalars(text)) pair(part, key, value, at);
}

const decodeURIComponentSafe = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

interface Scalar {
  readonly key: string;
  readonly value: string;
  readonly at: number;
}

/** Scalars with the key before them: quoted, block and plain ones. No tree is built. */
function* yamlScalars(text: string): Generator<Scalar> {
  const part =
    /(?:^|\n)([ \t]*)(?:-[ \t]+)*(?:(?:"([^"\n]*)"|'([^'\n]*)'|([^\s:#'"{[][^:\n]*?))[ \t]*:(?=[ \t\n]|$))?[ \t]*(?:(?:&\S+|!\S*)[ \t]*)*(?:([|>])[-+\d]*[ \t]*(?=\n)|\n?[ \t]*("(?:[^"\\]|\\[\s\S])*"|'(?:[^']|'')*')|([^\n]*))/g;
  for (let match = part.exec(text); match; match = part.exec(text)) {
    if (match[0] === "") {
      part.lastIndex++;
      continue;
    }
    const [, indent = "", double, single, bare, block, quoted, rest] = match;
    const key = double ?? single ?? bare ?? "";
    const at = match.index;
    if (block) {
      const lines: string[] = [];
      for (let from = part.lastIndex + 1; from < text.length; ) {
        const end = text.indexOf("\n", from);
        const line = text.slice(from, end < 0 ? text.length : end);
        if (line.trim() !== "" && line.length - line.trimStart().length <= indent.length) break;
        lines.push(line.trim() === "" ? "" : line.slice(indent.length));
        from = end < 0 ? text.length : end + 1;
        part.lastIndex = from - 1;
      }
      yield { key, value: lines.join(block === "|" ? "\n" : " "), at };
    } else if (quoted) yield { key, value: unquoteYaml(quoted), at };
    else if (rest) yield* flow(key, rest, at);
  }
}

/** A plain scalar, or a flow map on one line. */
function* flow(key: string, rest: string, at: number): Generator<Scalar> {
  if ((rest[0] !== "{" && rest[0] !== "[") || isTemplate(rest)) {
    yield { key, value: rest.trim(), at };
    return;
  }
  for (const match of rest.matchAll(
    /(?:["']?([\w./-]+)["']?\s*:\s*)?("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,{}[\]"']+)/g,
  ))
    yield { key: match[1] ?? key, value: unquoteYaml(match[2]!.trim()), at: at + match.index };
}

function unquoteYaml(text: string): string {
  if (text[0] === "'")
    return text
      .slice(1, -1)
      .replace(/''/g, "'")
      .replace(/\s*\n\s*/g, " ");
  if (text[0] !== '"') return text;
  return text
    .slice(1, -1)
    .replace(/\\\n\s*/g, "")
    .replace(/\s*\n\s*/g, " ")
    .replace(/\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|(.))/gs, (_, x, u, c: string) =>
      x || u
        ? String.fromCharCode(Number.parseInt(x ?? u, 16))
        : c === "n"
          ? "\n"
          : c === "t"
            ? "\t"
            : c,
    );
}
