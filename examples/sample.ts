/** Four pictures of food from the embedded model, as PNG files. Run: npx tsx examples/sample.ts [folder] */

import { mkdir, writeFile } from "node:fs/promises";
import { encodePng, generate, loadVarFrom } from "underpaint";

const folder = process.argv[2] ?? "out";
const model = await loadVarFrom(process.env.MODEL ?? "emoji64");
await mkdir(folder, { recursive: true });

const count = Number(process.env.STEPS ?? 4);
for await (const { index, label, picture } of generate(model, { label: "food", count, seed: 1 })) {
  const file = `${folder}/food-${index}.png`;
  await writeFile(file, await encodePng(picture));
  console.log(file, model.labels[label]);
}
await model.release();
