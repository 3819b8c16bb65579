/** Emoji: identity across sets, categories, the split, the drawing and its cache. */

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { drawEmoji, emoji, isTestConcept } from "./emoji.ts";
import { categoryOf, conceptOf, plainness } from "./emoji-categories.ts";
import { FXEMOJI_NAMES } from "./emoji-fxemoji-names.ts";
import { EMOJI_SETS, type EmojiIcon, type EmojiSet, emojiIcons } from "./emoji-icons.ts";
import { classCounts, type ImageDataset, pixelsOf } from "./types.ts";

const ALL = Object.keys(EMOJI_SETS) as EmojiSet[];
let icons: EmojiIcon[];
let cache: string;
beforeAll(async () => {
  icons = (await emojiIcons(ALL)).icons;
  cache = await mkdtemp(join(tmpdir(), "underpaint-emoji-"));
});
afterAll(() => rm(cache, { recursive: true, force: true }));

const of = (style: EmojiSet, concept: string) =>
  icons.find((i) => i.style === style && i.concept === concept);

describe("identity", () => {
  test.each([
    ["eggplant", ["eggplant", "eggplant", "aubergine", "eggplant", "eggplant"]],
    [
      "smiling-face-with-open-hands",
      [
        "hugging-face",
        "smiling-face-with-open-hands",
        undefined,
        "smiling-face-with-open-hands",
        "hugging-face",
      ],
    ],
    ["cat-face", ["cat-face", "cat-face", "cat", "cat-face", "cat-face"]],
    ["cat", ["cat", "cat", "catside", "cat", "cat"]],
    ["keyboard", ["keyboard", "keyboard", "wiredkeyboard", "keyboard", "keyboard"]],
    ["man", ["man", "man", "man", "man", "man"]],
    ["bear", ["bear", "bear", "bear", "bear", "bear-face"]],
    ["artist", ["artist", "artist", undefined, "artist"]],
    ["blond-hair", ["person-blonde-hair", "person-blond-hair", "blonde"]],
  ])("%s is found in each set under its own name", (concept, names) => {
    names.forEach((name, i) => {
      expect(of(ALL[i]!, concept)?.icon, ALL[i]).toBe(name);
    });
  });

  test("a concept has at most one picture per set, and one category in all sets", () => {
    const seen = new Set<string>();
    const category = new Map<string, string>();
    for (const icon of icons) {
      const key = `${icon.style}/${icon.concept}`;
      expect(seen.has(key), key).toBe(false);
      seen.add(key);
      expect(category.get(icon.concept) ?? icon.category, icon.concept).toBe(icon.category);
      category.set(icon.concept, icon.category);
    }
  });

  test("by default no picture has a skin tone", () => {
    const toned = icons.filter((i) => i.name.includes("skin-tone"));
    expect(toned.map((i) => i.icon)).toEqual([]);
  });

  test("most concepts of every set are known to Noto, so identity is not by chance", () => {
    const noto = new Set(icons.filter((i) => i.style === "noto").map((i) => i.concept));
    for (const style of ALL) {
      const own = icons.filter((i) => i.style === style && i.category !== "flags");
      const shared = own.filter((i) => noto.has(i.concept)).length;
      expect(shared / own.length, style).toBeGreaterThan(0.99);
      expect(own.length, style).toBeGreaterThan(750);
    }
  });

  test("every line of the fxemoji table leads to a picture of another set", () => {
    const others = new Set(icons.filter((i) => i.style !== "fxemoji").map((i) => i.concept));
    const lost = [...FXEMOJI_NAMES].filter(([, name]) => !others.has(conceptOf(name)));
    expect(lost).toEqual([]);
  });

  test("tones: true keeps tones and genders, under the same concepts", async () => {
    const { icons: all } = await emojiIcons(["noto"], { tones: true });
    const plain = icons.filter((i) => i.style === "noto");
    expect(all.length).toBeGreaterThan(2 * plain.length);
    expect(new Set(all.map((i) => i.concept))).toEqual(new Set(plain.map((i) => i.concept)));
  });
});

describe("names", () => {
  test.each([
    ["woman-artist-dark-skin-tone", "artist"],
    ["men-holding-hands-light-skin-tone-medium-dark-skin-tone", "holding-hands"],
    ["person-medium-dark-skin-tone-blond-hair", "blond-hair"],
    ["family-man-woman-girl", "family"],
    ["kiss-mark", "kiss-mark"],
    ["kiss-person-person-dark-skin-tone-light-skin-tone", "kiss"],
    ["man-running-facing-right", "running"],
    ["pregnant-woman", "pregnant-person"],
    ["woman", "woman"],
    ["traffic-light", "traffic-light"],
  ])("%s shows the concept %s", (name, concept) => {
    expect(conceptOf(name)).toBe(concept);
  });

  test("neutral is plainer than woman, woman than man, any than a tone", () => {
    const names = ["artist", "woman-artist", "man-artist", "artist-dark-skin-tone"];
    const ranks = names.map(plainness);
    expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
    expect(new Set(ranks).size).toBe(4);
  });

  test.each([
    ["Smileys & Emotion", "weary-cat", "animals"],
    ["Smileys & Emotion", "smiling-face-with-heart-eyes", "faces"],
    ["Smileys & Emotion", "blue-heart", "hearts"],
    ["People & Body", "person-raising-hand", "people"],
    ["People & Body", "raising-hands", "body"],
    ["People & Body", "people-holding-hands", "people"],
    ["Animals & Nature", "rose", "plants"],
    ["Travel & Places", "ten-thirty", "clocks"],
    ["Travel & Places", "taxi", "vehicles"],
    ["Travel & Places", "castle", "places"],
    ["Travel & Places", "full-moon", "sky"],
    ["Symbols", "leo", "zodiac"],
    ["Symbols", "keycap-7", "letters"],
    ["Symbols", "play-button", "arrows"],
    ["Symbols", "red-circle", "shapes"],
    ["Component", "red-hair", undefined],
  ])("in %s, %s is of the category %s", (group, name, category) => {
    expect(categoryOf(group, name)).toBe(category);
  });
});

describe("emoji data set", () => {
  const options = {
    size: 24,
    sets: ["fluent", "noto", "twemoji"],
    categories: ["plants", "sky"],
  } as const;
  let train: ImageDataset;
  let held: ImageDataset;
  beforeAll(async () => {
    train = await emoji({ ...options, cache });
    held = await emoji({ ...options, cache, split: "test" });
  });
  const concepts = (data: ImageDataset) =>
    new Set(Array.from({ length: data.count }, (_, i) => data.concept(i)));

  test("no concept stands on both sides of the split", () => {
    const both = [...concepts(train)].filter((c) => concepts(held).has(c));
    expect(both).toEqual([]);
    expect(held.count).toBeGreaterThan(0);
    expect([...concepts(held)].every((c) => isTestConcept(c, 0.1))).toBe(true);
  });

  test("classes are category/style, the same in both splits", () => {
    expect(train.classes).toEqual(held.classes);
    expect(train.classes).toEqual(
      ["plants", "sky"].flatMap((c) => ["fluent", "noto", "twemoji"].map((s) => `${c}/${s}`)),
    );
    for (const n of classCounts(train)) expect(n).toBeGreaterThan(20);
    for (let i = 0; i < train.count; i++) {
      expect(train.classes[train.label(i)]!.split("/")[1]).toBe(train.id(i).split("/")[0]);
    }
  });

  test("the whole list splits at about a tenth", () => {
    const all = new Set(icons.map((i) => i.concept));
    const share = [...all].filter((c) => isTestConcept(c, 0.1)).length / all.size;
    expect(share).toBeGreaterThan(0.07);
    expect(share).toBeLessThan(0.13);
  });

  test("pictures that are no squares have the icon in the middle, white beside it", async () => {
    const choice = { sets: ["fluent"], categories: ["sky"] } as const;
    const own = await mkdtemp(join(tmpdir(), "underpaint-emoji-"));
    const square = await emoji({ ...choice, size: 24, cache: own });
    const wide = await emoji({ ...choice, size: { width: 40, height: 24 }, cache: own });
    await rm(own, { recursive: true });
    expect([wide.width, wide.height, wide.count]).toEqual([40, 24, square.count]);
    for (let i = 0; i < 3; i++)
      for (let y = 0; y < 24; y++) {
        const row = pixelsOf(wide, i).subarray(y * 40 * 3, (y + 1) * 40 * 3);
        expect(row.subarray(8 * 3, 32 * 3)).toEqual(
          pixelsOf(square, i).subarray(y * 24 * 3, (y + 1) * 24 * 3),
        );
        for (const beside of [row.subarray(0, 24), row.subarray(32 * 3)])
          expect(beside.every((v) => v === 255)).toBe(true);
      }
    await expect(emoji({ ...choice, size: { width: 40, height: 4 }, cache })).rejects.toThrow(
      /got size 40x4, want 8 to 1024 pixels along each side/,
    );
  });

  test("every picture touches its margin on an axis, leaves the margin white, and is not blank", () => {
    const { width: size } = train;
    const margin = Math.round(size / 16);
    for (let i = 0; i < train.count; i++) {
      const p = pixelsOf(train, i);
      let [left, top, right, bottom] = [size, size, -1, -1];
      for (let k = 0; k < size * size; k++) {
        if (p[3 * k]! + p[3 * k + 1]! + p[3 * k + 2]! >= 3 * 254) continue;
        const [x, y] = [k % size, Math.floor(k / size)];
        [left, right] = [Math.min(left, x), Math.max(right, x)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      }
      expect(Math.min(left, top), train.id(i)).toBeGreaterThanOrEqual(margin);
      expect(Math.max(right, bottom), train.id(i)).toBeLessThan(size - margin);
      const extent = Math.max(right - left, bottom - top) + 1;
      expect(extent, train.id(i)).toBeGreaterThanOrEqual(size - 2 * margin - 5); // soft edges may fade
    }
  });

  test("the second time comes from the cache, equal; a damaged cache is drawn again", async () => {
    const [file] = await readdir(cache);
    const path = join(cache, file!);
    const good = await readFile(path);
    const first = await drawEmoji({ ...options, cache }).next();
    expect(first.done).toBe(true); // nothing to draw
    await writeFile(path, good.subarray(0, good.length / 2));
    const again = await emoji({ ...options, cache });
    expect(again.pixels).toEqual(train.pixels);
    expect(await readFile(path)).toEqual(good);
    expect(await readdir(cache)).toEqual([file]); // no part file left
    await writeFile(
      path,
      Buffer.from(good.toString("latin1").replace("plants", "plantz"), "latin1"),
    );
    expect((await emoji({ ...options, cache })).classes).toEqual(train.classes); // other facts
    expect(await readFile(path)).toEqual(good);
  });

  test("a cache that cannot be written is a sentence that names the way out", async () => {
    const blocked = join(cache, (await readdir(cache))[0]!, "sub"); // below a plain file
    const few = { size: 8, sets: ["fxemoji"], categories: ["zodiac"], cache: blocked } as const;
    await expect(emoji(few)).rejects.toThrow(/cannot write .* set UNDERPAINT_CACHE/);
  });

  test("drawing reports progress and can be stopped", async () => {
    const stop = new AbortController();
    const drawing = drawEmoji({ ...options, size: 16, cache, signal: stop.signal });
    expect((await drawing.next()).value).toMatchObject({ done: 0 });
    stop.abort();
    await drawing.next().catch(() => undefined);
    await expect(drawing.next()).resolves.toMatchObject({ done: true });
    expect((await readdir(cache)).length).toBe(1);
  });

  test.each([
    [{ size: 4 }, /got size 4x4, want 8 to 1024/],
    [{ sets: [] }, /no icon set chosen; there are fluent, noto/],
    [{ sets: ["apple"] }, /unknown icon set "apple"/],
    [{ categories: ["fod"] }, /unknown category "fod"; there are faces/],
    [{ testFraction: 1 }, /got a test part of 1/],
    [{ margin: 0.5 }, /got a margin of 0.5/],
  ])("%j is refused with a sentence", async (bad, message) => {
    await expect(emoji({ ...options, cache, ...(bad as object) })).rejects.toThrow(message);
  });
});
