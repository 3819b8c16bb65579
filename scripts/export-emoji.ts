/** Writes icons that come along as a folder of pictures, one subfolder per class: for trying what a user's folder does. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openDataset, prepareDataset } from "../src/data/open.ts";
import { pixelsOf } from "../src/data/types.ts";
import { encodePng } from "../src/formats/png.ts";

const [folder, wanted = "500"] = process.argv.slice(2);
if (!folder) throw new Error("usage: npx tsx scripts/export-emoji.ts FOLDER [COUNT]");
const [spec, size] = ["emoji:noto,twemoji", 64];
for await (const _ of prepareDataset(spec, { size }));
const set = await openDataset(spec, { size });
const stride = Math.max(1, Math.floor(set.count / Number(wanted)));
let written = 0;
for (let i = 0; i < set.count && written < Number(wanted); i += stride, written++) {
  const kind = set.classes[set.label(i)]!.split("/")[0]!;
  mkdirSync(join(folder, kind), { recursive: true });
  const data = new Uint8Array(pixelsOf(set, i));
  const file = join(folder, kind, `${String(i).padStart(5, "0")}.png`);
  writeFileSync(file, await encodePng({ width: size, height: size, channels: 3, data }));
}
console.error(`${written} pictures in ${folder}`);
