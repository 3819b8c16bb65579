/** Reads the imports of src/ and fails where one points up, leaves the browser, or brings chance in by the back door. */

import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

const MODELS = ["formats", "guard", "tensor", "data", "nn", "image", "text"];
/** What each folder of src/ may import besides itself. A folder that is not here fails until somebody decides. */
const BELOW: Readonly<Record<string, readonly string[]>> = {
  formats: [],
  guard: ["formats"],
  tensor: ["formats"],
  data: ["formats", "tensor/rng"],
  nn: ["formats", "tensor"],
  image: ["formats", "tensor", "nn", "data/resize"],
  text: ["formats", "tensor", "nn"],
  eval: MODELS,
  train: [...MODELS, "eval"],
  lab: [...MODELS, "train", "eval"],
  server: [...MODELS, "train", "eval", "lab"],
  web: [...MODELS, "client", "server"],
  cli: [...MODELS, "train", "eval", "lab", "server"],
};
/** Files of src/ itself compose everything, except for the command line. */
const TOP = Object.keys(BELOW).filter((layer) => layer !== "cli");

/** Folders that run in a browser too; files named node.ts or *.node.ts, and backends, may use Node. */
const BROWSER_SAFE = ["formats", "guard", "tensor", "nn", "image", "text", "web"];
const MAY_USE_NODE = /(^|[./])node\.ts$|(^|\/)backends\//;

/** Layers without npm dependencies. */
const NO_PACKAGES = ["formats", "guard"];

interface Source {
  /** Relative to src/, with forward slashes. */
  readonly path: string;
  readonly layer: string;
  readonly text: string;
  readonly imports: readonly string[];
}

/** Comments and strings that are no imports may say anything. */
const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|[^:"'`])\/\/.*$/gm, "$1");

function importsOf(text: string): string[] {
  const code = withoutComments(text);
  const statement =
    /^\s*(?:import|export)\b[^;"'`]*?from\s*["']([^"']+)["']|^\s*import\s*["']([^"']+)["']/gm;
  const dynamic = /\bimport\(\s*["']([^"']+)["']\s*\)/g;
  return [...code.matchAll(statement), ...code.matchAll(dynamic)].map((m) => m[1] ?? m[2]!);
}

const source = (path: string, text: string): Source => ({
  path,
  layer: path.includes("/") ? path.split("/")[0]! : "",
  text: withoutComments(text),
  imports: importsOf(text),
});

const SOURCES: readonly Source[] = readdirSync(join(ROOT, "src"), {
  recursive: true,
  encoding: "utf8",
})
  .map((p) => p.replaceAll("\\", "/"))
  .filter((p) => p.endsWith(".ts") && !p.endsWith(".test.ts") && !p.endsWith(".d.ts"))
  .map((p) => source(p, readFileSync(join(ROOT, "src", p), "utf8")));

/** What is wrong with one file, as sentences. */
function violations({ path, layer, text, imports }: Source): string[] {
  const found: string[] = [];
  const allowed = layer === "" ? TOP : BELOW[layer];
  if (!allowed) return [`src/${path}: folder "${layer}" has no place in the layers; give it one`];
  for (const name of imports) {
    if (name.startsWith(".")) {
      const target = posix.join(posix.dirname(path), name);
      const inside = layer === "" ? !target.includes("/") : target.startsWith(`${layer}/`);
      const below = allowed.some((l) => target.startsWith(`${l}/`) || target === `${l}.ts`);
      if (!inside && !below) found.push(`src/${path} imports ${target}, which is not below it`);
      if (!name.endsWith(".ts")) found.push(`src/${path} imports ${name} without its ending`);
    } else if (name.startsWith("node:")) {
      if (BROWSER_SAFE.includes(layer) && !MAY_USE_NODE.test(path))
        found.push(`src/${path} imports ${name}, and must run in a browser`);
    } else if (NO_PACKAGES.includes(layer)) found.push(`src/${path} imports the package ${name}`);
  }
  if (layer !== "cli" && /\bMath\.random\b|\bDate\.now\b|\bnew Date\(\)/.test(text))
    found.push(`src/${path} uses Math.random or the clock; take an rng or a time instead`);
  return found;
}

test("imports point down, browsers are respected, chance and clocks are handed in", () => {
  expect(SOURCES.length).toBeGreaterThan(10);
  expect(SOURCES.flatMap(violations)).toEqual([]);
});

const WRONG: Readonly<Record<string, [path: string, text: string]>> = {
  "an upward import": ["formats/a.ts", 'import { x } from "../tensor/graph.ts";'],
  "a sideways import": ["nn/a.ts", 'export { x } from "../data/index.ts";'],
  "data taking more of the engine than its streams": ["data/a.ts", 'import "../tensor/graph.ts";'],
  "guard using the engine": ["guard/a.ts", 'const x = await import("../tensor/index.ts");'],
  "an upward import over several lines": [
    "tensor/a.ts",
    'import {\n  a,\n  b,\n} from "../nn/b.ts";',
  ],
  "Node in the browser's layers": ["image/a.ts", 'import { readFile } from "node:fs/promises";'],
  "a package in formats": ["formats/a.ts", 'import sharp from "sharp";'],
  "hidden chance": ["nn/a.ts", "const x = Math.random();"],
  "a hidden clock": ["train/a.ts", "const t = Date.now();"],
  "an unknown folder": ["misc/a.ts", ""],
};
for (const [what, [path, text]] of Object.entries(WRONG))
  test(`${what} is found`, () => {
    expect(violations(source(path, text))).toHaveLength(1);
  });

test("what is allowed stays allowed", () => {
  const fine: readonly (readonly [string, string])[] = [
    ["data/a.ts", 'import { rng } from "../tensor/rng.ts";'],
    ["formats/node.ts", 'import { open } from "node:fs/promises";'],
    [
      "tensor/backends/ort-node.ts",
      'import * as ort from "onnxruntime-node";\nimport { join } from "node:path";',
    ],
    ["cli/main.ts", 'import { x } from "../train/index.ts";\nconst t = Date.now();'],
    ["nn/a.ts", "// Math.random is forbidden here\n/* so is Date.now */"],
    ["index.ts", 'export { x } from "./image/index.ts";'],
  ];
  expect(fine.flatMap(([path, text]) => violations(source(path, text)))).toEqual([]);
});

/** What the studio may use of src/: what runs in browsers and is public. Its engine also names plain data of others. */
const STUDIO = /^src\/(client\.ts|web\/|formats\/|guard\/|image\/scales\.ts$)/;
const STUDIO_ENGINE = /^src\/(image\/orders|server\/job)\.ts$/;

test("the studio imports only what runs in browsers, and no package but Svelte", () => {
  const folder = join(ROOT, "studio/src");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => /\.(ts|svelte)$/.test(path));
  expect(files.length).toBeGreaterThan(30);
  const wrong = files.flatMap((path) =>
    importsOf(readFileSync(join(folder, path), "utf8"))
      .filter((name) => {
        if (!name.startsWith(".")) return !/^svelte(\/|$)/.test(name);
        const target = posix.join("studio/src", posix.dirname(path), name);
        if (target.startsWith("studio/src/")) return false;
        const engine = path.startsWith("engine/") && STUDIO_ENGINE.test(target);
        return !engine && (!STUDIO.test(target) || MAY_USE_NODE.test(target));
      })
      .map((name) => `studio/src/${path} imports ${name}`),
  );
  expect(wrong).toEqual([]);
});
