/**
 * One picture after the other with a model too large to hold: times and the largest resident memory, the first picture with
 * all that is done once. `npx tsx bench/large.ts --name d30 --var FILE --vqvae FILE [--precision int8] [--count 3]`
 */

import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadVarFrom } from "../src/image/node.ts";
import { generate } from "../src/image/sampler.ts";
import { host } from "./machine.ts";

const { values } = parseArgs({
  options: {
    name: { type: "string", default: "d30" },
    var: { type: "string" },
    vqvae: { type: "string" },
    precision: { type: "string", default: "int8" },
    count: { type: "string", default: "3" },
    dry: { type: "boolean", default: false },
  },
});
if (!values.var || !values.vqvae) throw new Error("name both files: --var FILE --vqvae FILE");
const precision = values.precision === "int8" ? "int8" : "fp32";
const THREADS = 2;

const peak = () =>
  1024 * Number(/VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]);

let begin = performance.now();
const lap = () => {
  const [before, now] = [begin, performance.now()];
  begin = now;
  return (now - before) / 1000;
};
let isFirstUse = false;
const model = await loadVarFrom(
  { var: values.var, vqvae: values.vqvae },
  { threads: THREADS, precision, firstUse: () => (isFirstUse = true) },
);
const loading = lap();
const pictures = [];
for (let i = 0; i < Number(values.count); i++) {
  for await (const _ of generate(model, { labels: [207 + i], seed: i, guidance: 1.5 }));
  pictures.push({ seconds: lap(), peak: peak() });
  console.error(pictures.at(-1));
}
await model.release();
const result = {
  name: values.name,
  precision,
  parameters: model.info.parameters,
  bytes: statSync(values.var).size,
  loading,
  isFirstUse,
  pictures,
  ...host(),
  threads: THREADS,
  date: new Date().toISOString().slice(0, 10),
};
const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(2);
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const file = here("results/large.json");
const old = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as (typeof result)[]) : [];
const key = (r: typeof result) => `${r.name} ${r.precision} ${r.isFirstUse}`;
const all = [...old.filter((r) => key(r) !== key(result)), result];
const page = `# Large models

Pictures of 256 pixels one after the other, guidance 1.5, made-up weights, each of a class that was not drawn before. A first
use includes the calibration of the decoder (eight pictures) and writing the weights in 8 bits, which are kept.

| model | precision | file, GB | use | loading, s | first picture, s | later ones, s | peak, GiB |
|---|---|---|---|---|---|---|---|
${all
  .map((r) => {
    const [first, ...later] = r.pictures.map(({ seconds }) => seconds.toFixed(1));
    return `| ${r.name} | ${r.precision} | ${(r.bytes / 1e9).toFixed(2)} | ${r.isFirstUse ? "first" : "later"} | ${r.loading.toFixed(1)} | ${first} | ${later.join(", ")} | ${gib(r.pictures.at(-1)!.peak)} |`;
  })
  .join("\n")}

${["cpu", "cores", "memoryGiB", "system", "node", "threads", "date"].map((k) => `${k} ${result[k as keyof typeof result]}`).join(", ")}
`;
console.log(page);
if (!values.dry) {
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
  writeFileSync(here("results/large.md"), page);
}
