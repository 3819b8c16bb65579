/** What a benchmark ran on, and how PyTorch is started at its best. Measures nothing. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";

export const PYTHON = process.env.PYTHON ?? "/usr/bin/python3";

const { OPENBLAS_CORETYPE: _, ...rest } = process.env;
/** A distribution's set-up pins an older kernel through this variable; without it OpenBLAS takes the fastest. */
export const fastEnv: NodeJS.ProcessEnv = rest;

/** The machine alone. */
export const host = () => ({
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: execFileSync("uname", ["-sr"], { encoding: "utf8" }).trim(),
  node: process.version,
});

/** The machine and the versions; PyTorch's are what its process said when it was ready. */
export function machine({ torch, openblas, threads }: Record<string, unknown>) {
  const require = createRequire(import.meta.url);
  const runtime = join(require.resolve("onnxruntime-node"), "../../package.json");
  return {
    ...host(),
    onnxruntime: JSON.parse(readFileSync(runtime, "utf8")).version as string,
    torch,
    openblas,
    threads,
  };
}
