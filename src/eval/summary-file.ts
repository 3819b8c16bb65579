/** Summaries of references in the cache folder, so that a reference is looked at once. Knows no pictures. */

import { node } from "../formats/builtins.node.ts";
import { cacheFolder } from "../formats/cache.node.ts";
import type { Tensor } from "../formats/dtype.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import type { Summary } from "./evaluate.ts";
import type { Rows } from "./products.ts";
import type { Statistics } from "./statistics.ts";

/** Change it when what is kept changes, so that old files are not used. */
const FORMAT = 1;

const fileOf = (key: string): string => {
  const hash = node.crypto.createHash("sha256").update(`${FORMAT} ${key}`).digest("hex");
  return node.path.join(cacheFolder(), "eval", `${hash.slice(0, 32)}.safetensors`);
};

const tensor = (data: Rows["data"], shape: readonly number[]): Tensor => ({
  dtype: data instanceof Float32Array ? "float32" : "float64",
  shape,
  data,
});

/** Keeps a summary under a key that names pictures, network and everything else it depends on. */
export async function keepSummary(key: string, summary: Summary): Promise<void> {
  const tensors = new Map<string, Tensor>();
  for (const kind of ["statistics", "spatial"] as const) {
    const s = summary[kind];
    if (!s) continue;
    tensors.set(`${kind}.mean`, tensor(s.mean, [s.width]));
    tensors.set(`${kind}.covariance`, tensor(s.covariance, [s.width, s.width]));
  }
  const { count, kept, score } = summary;
  tensors.set("kept", tensor(kept.data, [kept.count, kept.width]));
  const file = fileOf(key);
  await node.fs.mkdir(node.path.dirname(file), { recursive: true });
  const metadata = { key, facts: JSON.stringify({ count, score }) };
  await writeFileAtomic(file, writeSafetensors(tensors, { metadata }));
}

/** The summary kept under a key; undefined where there is none, or a file that is damaged or of another key. */
export async function keptSummary(key: string): Promise<Summary | undefined> {
  try {
    const { tensors, metadata } = readSafetensors(await node.fs.readFile(fileOf(key)));
    if (metadata.key !== key) return undefined;
    const { count, score } = JSON.parse(metadata.facts!) as Pick<Summary, "count" | "score">;
    const statistics = (kind: string): Statistics | undefined => {
      const [mean, covariance] = [tensors.get(`${kind}.mean`), tensors.get(`${kind}.covariance`)];
      if (!mean || !covariance) return undefined;
      const data = { mean: mean.data as Float64Array, covariance: covariance.data as Float64Array };
      return { count, width: mean.data.length, ...data };
    };
    const kept = tensors.get("kept")!;
    const [rows, width] = kept.shape as [number, number];
    return {
      count,
      score,
      statistics: statistics("statistics"),
      spatial: statistics("spatial"),
      kept: { count: rows, width, data: kept.data as Rows["data"] },
    };
  } catch {
    return undefined; // it can be had again by looking at the pictures
  }
}
