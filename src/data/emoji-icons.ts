/**
 * Finds every emoji picture of the installed icon sets and says what it shows: style, concept, category, SVG.
 * Draws nothing.
 *
 * The trick is identity. The sets name their pictures differently, so each name is carried to the CLDR short name
 * that the Noto set uses: by code point, by alias, by a table. A picture whose identity stays unknown is left out,
 * because it could appear in training in one style and in the test in another.
 */

import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import { categoryOf, conceptOf, type EmojiCategory, plainness } from "./emoji-categories.ts";
import { FXEMOJI_NAMES } from "./emoji-fxemoji-names.ts";
import type { Attribution } from "./types.ts";

export type EmojiSet = "fluent" | "noto" | "fxemoji" | "twemoji" | "emojione";

/** The sets we can read: the npm package, and whom to name. Licences as in each package's info.json. */
export const EMOJI_SETS: Readonly<Record<EmojiSet, { readonly npm: string } & Attribution>> = {
  fluent: {
    npm: "@iconify-json/fluent-emoji-flat",
    name: "Fluent Emoji Flat, Microsoft Corporation",
    licence: "MIT",
    url: "https://github.com/microsoft/fluentui-emoji",
  },
  noto: {
    npm: "@iconify-json/noto",
    name: "Noto Emoji, Google Inc",
    licence: "Apache-2.0",
    url: "https://github.com/googlefonts/noto-emoji",
  },
  fxemoji: {
    npm: "@iconify-json/fxemoji",
    name: "Firefox OS Emoji, Mozilla",
    licence: "Apache-2.0",
    url: "https://github.com/mozilla/fxemoji",
  },
  twemoji: {
    npm: "@iconify-json/twemoji",
    name: "Twemoji, Twitter and contributors",
    licence: "CC-BY-4.0",
    url: "https://github.com/jdecked/twemoji",
  },
  emojione: {
    npm: "@iconify-json/emojione",
    name: "Emoji One 2.3 (EmojiTwo), Emoji One and contributors",
    licence: "CC-BY-4.0",
    url: "https://github.com/EmojiTwo/emojitwo",
  },
};

/** Names and groups come from here, so it must be installed even when it is not drawn. */
const REFERENCE: EmojiSet = "noto";

export interface EmojiIcon {
  readonly style: EmojiSet;
  /** Name in its own set. */
  readonly icon: string;
  /** CLDR short name, kebab case. */
  readonly name: string;
  readonly concept: string;
  readonly category: EmojiCategory;
  /** Whole SVG document but for its size: `svg(pixels)`. */
  readonly svg: (pixels: number) => string;
}

/** Names of a set that mean another emoji in CLDR, or none. */
const OWN_NAMES: Readonly<Partial<Record<EmojiSet, ReadonlyMap<string, string>>>> = {
  fxemoji: FXEMOJI_NAMES,
  emojione: new Map([
    ["dizzy-face", "face-with-crossed-out-eyes"],
    ["hugging-face", "smiling-face-with-open-hands"],
  ]),
};

/** A body that names style classes lost its style sheet in conversion and would be drawn black. */
const LOST_STYLE = 'class="';

interface IconSet {
  readonly version: string;
  readonly icons: Readonly<Record<string, IconBody>>;
  readonly aliases: Readonly<Record<string, { readonly parent: string }>>;
  readonly width: number;
  readonly height: number;
  /** Code points ("1f426-200d-1f525") to icon name; empty in some sets. */
  readonly chars: Readonly<Record<string, string>>;
  readonly categories: Readonly<Record<string, readonly string[]>>;
}

interface IconBody {
  readonly body: string;
  readonly hidden?: boolean;
  readonly left?: number;
  readonly top?: number;
  readonly width?: number;
  readonly height?: number;
}

/**
 * Every usable picture of the given sets, ordered by category, concept and set; and the version of each package read.
 * @param tones keep every skin tone and gender; default one picture per concept and set
 * @throws InputError naming the `npm install` to run when a package is absent
 */
export async function emojiIcons(
  sets: readonly EmojiSet[],
  { tones = false }: { tones?: boolean } = {},
): Promise<{ icons: EmojiIcon[]; versions: Record<string, string> }> {
  const needed = [...new Set<EmojiSet>([...sets, REFERENCE])];
  const loaded = new Map<EmojiSet, IconSet>();
  for (const set of needed) loaded.set(set, await loadSet(set, needed));
  const cldr = cldrNames(loaded.get(REFERENCE)!);
  const icons = sets.flatMap((style) => {
    const all = iconsOf(style, loaded.get(style)!, cldr);
    return tones ? all : plainest(all);
  });
  const key = (i: EmojiIcon): string => `${i.category}/${i.concept}/${i.name}/${i.style}`;
  icons.sort((a, b) => (key(a) < key(b) ? -1 : 1));
  const versions = Object.fromEntries([...loaded].map(([set, { version }]) => [set, version]));
  return { icons, versions };
}

interface CldrNames {
  readonly byCode: ReadonlyMap<string, string>;
  readonly byText: ReadonlyMap<string, string>;
  readonly groups: ReadonlyMap<string, string>;
}

/** Names are compared without hyphens: one set writes none. */
const squash = (name: string): string => name.replace(/[^a-z0-9]/g, "");

function cldrNames({ icons, aliases, chars, categories }: IconSet): CldrNames {
  const byText = new Map<string, string>();
  for (const [alias, { parent }] of Object.entries(aliases)) byText.set(squash(alias), parent);
  for (const name of Object.keys(icons)) byText.set(squash(name), name); // real names win over aliases
  const groups = new Map<string, string>();
  for (const [group, names] of Object.entries(categories)) {
    for (const name of names) groups.set(name, group);
  }
  return { byCode: new Map(Object.entries(chars)), byText, groups };
}

function iconsOf(style: EmojiSet, set: IconSet, cldr: CldrNames): EmojiIcon[] {
  const codes = new Map(Object.entries(set.chars).map(([code, name]) => [name, code]));
  const alternatives = new Map<string, string[]>();
  for (const [alias, { parent }] of Object.entries(set.aliases)) {
    alternatives.set(parent, [...(alternatives.get(parent) ?? []), alias]);
  }
  const found: EmojiIcon[] = [];
  for (const [icon, body] of Object.entries(set.icons)) {
    if (body.hidden) continue; // superseded drawings
    const code = codes.get(icon);
    const texts = [OWN_NAMES[style]?.get(icon) ?? icon, ...(alternatives.get(icon) ?? [])];
    const known =
      (code && cldr.byCode.get(code)) ??
      texts.map((text) => cldr.byText.get(squash(text))).find((text) => text);
    const flag = texts
      .find((text) => text.startsWith("flag-"))
      ?.replace(/^flag-(for-)?(flag-)?/, "flag-");
    const name = known ?? flag; // Noto has no country flags
    if (!name || body.body.includes(LOST_STYLE)) continue;
    const group = known ? cldr.groups.get(known) : "Flags";
    const category = group && categoryOf(group, name);
    if (!category) continue; // hair and skin swatches
    const svg = (pixels: number) => svgDocument(set, body, pixels);
    found.push({ style, icon, name, concept: conceptOf(name), category, svg });
  }
  return found;
}

/** One picture per concept: the plainest, then the first by name. */
function plainest(icons: readonly EmojiIcon[]): EmojiIcon[] {
  const best = new Map<string, EmojiIcon>();
  const rank = (i: EmojiIcon) =>
    `${String(plainness(i.name)).padStart(2, "0")}/${i.name}/${i.icon}`;
  for (const icon of icons) {
    const rival = best.get(icon.concept);
    if (!rival || rank(icon) < rank(rival)) best.set(icon.concept, icon);
  }
  return [...best.values()];
}

function svgDocument(set: IconSet, icon: IconBody, pixels: number): string {
  const { left = 0, top = 0, width = set.width, height = set.height } = icon;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${left} ${top} ${width} ${height}" width="${pixels}" height="${pixels}">${icon.body}</svg>`;
}

async function loadSet(set: EmojiSet, needed: readonly EmojiSet[]): Promise<IconSet> {
  const { npm } = EMOJI_SETS[set];
  const read = async (file: string) =>
    JSON.parse(await node.fs.readFile(resolvePackage(`${npm}/${file}`, needed), "utf8"));
  const [pack, icons, chars, metadata] = [
    await read("package.json"),
    await read("icons.json"),
    await read("chars.json"),
    await read("metadata.json"),
  ];
  return {
    version: String(pack.version),
    icons: icons.icons,
    aliases: icons.aliases ?? {},
    width: icons.width ?? 16,
    height: icons.height ?? 16,
    chars,
    categories: metadata.categories ?? {},
  };
}

/** Looks in the node_modules of the working folder first, then in those around this package. */
function resolvePackage(file: string, needed: readonly EmojiSet[]): string {
  for (const base of [node.path.join(process.cwd(), "package.json"), import.meta.url]) {
    try {
      return node.module.createRequire(base).resolve(file);
    } catch {
      // not here; try the next place
    }
  }
  const packages = needed.map((set) => EMOJI_SETS[set].npm).join(" ");
  throw new InputError(
    `emoji: ${file.split("/").slice(0, 2).join("/")} is not installed; run: npm install ${packages}`,
    { packages },
  );
}
