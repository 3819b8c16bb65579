/** Trains a tiny tokenizer on coloured discs drawn here. Run: npx tsx examples/train-tokenizer.ts [folder] */

import type { ImageDataset, Split } from "underpaint/data";
import { vqvaeConfig } from "underpaint/image";
import { openBackend, rng } from "underpaint/tensor";
import { openRun, trainLoop, VQVAE_RECIPE, vqvaeTask } from "underpaint/train";

function discs(split: Split, count: number, size = 16): ImageDataset {
  const pixels = new Uint8Array(count * size * size * 3).fill(255); // N H W C
  const chance = rng(split);
  for (let i = 0; i < count; i++) {
    const [x, y, radius] = [4 + chance.int(8), 4 + chance.int(8), 2 + 4 * chance.uniform()];
    for (let p = 0; p < size * size; p++)
      if (Math.hypot((p % size) - x, Math.floor(p / size) - y) < radius)
        pixels[(i * size * size + p) * 3 + (i % 3)] = 0;
  }
  const id = (i: number) => `${split} ${i}`;
  const facts = {
    name: "discs",
    split,
    width: size,
    height: size,
    channels: 3,
    count,
    pixels,
    id,
    concept: id,
  } as const;
  return { ...facts, classes: ["c", "m", "y"], label: (i) => i % 3, attribution: [] };
}

const small = { channels: 32, chMult: [1, 2], resBlocks: 1, attention: false, midAttention: false };
const model = vqvaeConfig({ ...small, latent: 8, codes: 64, patchNums: [1, 2, 4, 8] });
const recipe = { ...VQVAE_RECIPE, model, batch: 16, steps: Number(process.env.STEPS ?? 300) };
const data = { train: discs("train", 300), test: discs("test", 30) };
const { run, checkpoint } = await openRun(process.argv[2] ?? "runs/discs", recipe);
const task = await vqvaeTask(recipe, data, { backend: await openBackend(), checkpoint });
for await (const event of trainLoop(task, run, { ...recipe, done: checkpoint?.step })) {
  if (event.kind !== "step") console.log(event);
}
