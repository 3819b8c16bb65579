/** Watches one picture grow scale by scale, and stops in time. Run: npx tsx examples/watch-scales.ts */

import { loadVarFrom, sample } from "underpaint";

const model = await loadVarFrom(process.env.MODEL ?? "emoji64");
const steps = Number(process.env.STEPS ?? model.patchNums.length);
const controller = new AbortController();

try {
  const options = { label: "faces", seed: 3, signal: controller.signal };
  for await (const { scale, of, shape, ids, images } of sample(model, options)) {
    const picture = await images(); // 1 3 H W in [0, 1]
    const mean = (picture.data as Float32Array).reduce((a, b) => a + b, 0) / picture.data.length;
    console.log(`scale ${scale + 1} of ${of}: ${shape.join("x")} tokens, first ${ids.data[0]}`);
    console.log(`  brightness ${mean.toFixed(3)}`);
    if (scale + 1 >= steps) controller.abort(); // enough seen: the next scale is not computed
  }
} catch (error) {
  if (!controller.signal.aborted) throw error;
  console.log("stopped");
} finally {
  await model.release();
}
