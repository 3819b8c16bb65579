/** A full-size check, not for CI: a made-up official model is loaded and drawn from; prints memory, time and tokens. */

import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { parseArgs } from "node:util";
import { openTensorFile } from "../src/formats/node.ts";
import { loadVarFrom } from "../src/image/node.ts";
import { sample } from "../src/image/sampler.ts";

const USAGE = `tsx scripts/check-official-like.ts VAR VQVAE [--parameters N] [--load-only]
  VAR, VQVAE       files of scripts/make-official-like.ts or .py; equal seeds give equal tokens in every format
  --parameters N   what the transformer must have
  --load-only      draws no picture
Ends with code 1 when a limit is broken: loading takes at most 300 MB, drawing no more than the weights and 1.5 GB.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { parameters: { type: "string" }, "load-only": { type: "boolean", default: false } },
});
const [transformer, tokenizer] = positionals;
if (!transformer || !tokenizer) {
  console.error(USAGE);
  process.exit(2);
}

const MB = 1e6;
const peak = (): number => process.resourceUsage().maxRSS * 1024;
let begin = process.cpuUsage();
const atStart = peak();
let broken = 0;

/** Prints one line; counts what is above its limit. */
function report(what: string, limit = Number.POSITIVE_INFINITY): void {
  const { user, system } = process.cpuUsage(begin);
  begin = process.cpuUsage();
  const grown = peak() - atStart;
  const verdict = grown > limit ? `OVER ${(limit / MB).toFixed(0)} MB` : "";
  if (verdict) broken++;
  const line = [
    what.padEnd(22),
    `${((user + system) / MB).toFixed(2).padStart(8)} s of processor time`,
    `${(grown / MB).toFixed(0).padStart(6)} MB at most`,
    verdict,
  ];
  console.log(line.join("  ").trimEnd());
}

const { format, tensors } = await openTensorFile(transformer);
const bytes = statSync(transformer).size + statSync(tokenizer).size;
report(`opened ${format} ${tensors.size}`, 300 * MB);
const model = await loadVarFrom({ var: transformer, vqvae: tokenizer });
report("loaded and checked", 300 * MB);
const { parameters } = model.info;
console.log(`${parameters.transformer} + ${parameters.tokenizer} parameters`);
if (values.parameters !== undefined && Number(values.parameters) !== parameters.transformer) {
  console.log(`the transformer should have ${values.parameters} parameters`);
  broken++;
}
if (!values["load-only"]) {
  const hash = createHash("sha256");
  for await (const step of sample(model, { label: 0, seed: 1 })) {
    hash.update(new Uint8Array((step.ids.data as BigInt64Array).buffer));
    report(`scale ${step.scale + 1} of ${step.of}`, bytes + 1500 * MB);
    if (step.scale + 1 === step.of) {
      const { data } = await step.images();
      report("decoded", bytes + 1500 * MB);
      const spread = (data as Float32Array).some((x) => x !== data[0]);
      if (!spread || !(data as Float32Array).every(Number.isFinite)) broken++;
    }
  }
  console.log(`tokens ${hash.digest("hex").slice(0, 16)}`);
}
await model.release();
process.exitCode = broken > 0 ? 1 : 0;
