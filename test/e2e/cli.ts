/** Runs the built command as a process, on a tiny model and tiny pictures made here. Tests nothing itself. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { encodePng } from "../../src/formats/png.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { varConfig, vqvaeConfig } from "../../src/image/config.ts";
import { modelMetadata } from "../../src/image/note.ts";
import { varSpecs } from "../../src/image/var-layout.ts";
import { vqvaeSpecs } from "../../src/image/vqvae-layout.ts";
import { initWeights } from "../../src/nn/spec.ts";
import { rng } from "../../src/tensor/rng.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const MAIN = join(ROOT, "dist/cli/main.js");

/** Newest change below a folder, milliseconds. */
const newest = (folder: string): number =>
  Math.max(
    ...readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile() && e.name.endsWith(".ts") && !e.name.endsWith(".test.ts"))
      .map((e) => statSync(join(e.parentPath, e.name)).mtimeMs),
  );

/** Throws where the build is absent or older than the sources: its tests would say nothing. */
function checkBuild(): void {
  if (!existsSync(MAIN) || statSync(MAIN).mtimeMs < newest(join(ROOT, "src")))
    throw new Error("dist/ is absent or older than src/; run: npm run build");
}
checkBuild();

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** Called with the process, e.g. to kill it. */
  started?: (child: ChildProcess) => void;
}

/** Runs a program to its end. */
export function execute(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const { cwd, env = {}, started } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
    started?.(child);
  });
}

/** Runs `underpaint ...args`. */
export const underpaint = (args: readonly string[], options?: RunOptions): Promise<Ended> =>
  execute(process.execPath, [MAIN, ...args], options);

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

/** A new empty folder, removed when the tests of the file are done. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-e2e-"));
  folders.push(folder);
  return folder;
}

export const TINY_LABELS = ["food/fluent", "food/noto", "faces/fluent"] as const;
export const tinyTokenizer = vqvaeConfig({
  ...{ channels: 32, chMult: [1, 1], resBlocks: 1, attention: false, midAttention: false },
  ...{ latent: 4, codes: 16, patchNums: [1, 2, 4] },
});
export const tinyTransformer = varConfig(2, {
  ...{ width: 32, heads: 2, classes: TINY_LABELS.length },
  ...{ patchNums: [1, 2, 4], codes: 16, latent: 4 },
});

/** An untrained model of 8 x 8 pixels: var.safetensors and vqvae.safetensors in a new folder. */
export async function tinyModel(): Promise<string> {
  const folder = await newFolder();
  const vqvae = initWeights(vqvaeSpecs(tinyTokenizer), rng("tokenizer"));
  const transformer = initWeights(varSpecs(tinyTransformer), rng("transformer"));
  await writeFile(
    join(folder, "vqvae.safetensors"),
    writeSafetensors(vqvae, { metadata: modelMetadata("vqvae", tinyTokenizer) }),
  );
  await writeFile(
    join(folder, "var.safetensors"),
    writeSafetensors(transformer, {
      metadata: modelMetadata("var", tinyTransformer, { classes: TINY_LABELS }),
    }),
  );
  return folder;
}

/** A folder of 8 x 8 pictures, two classes: discs in two colours. */
export async function tinyPictures(perClass = 24): Promise<string> {
  const folder = await newFolder();
  const chance = rng("discs");
  for (const [c, name] of ["green", "red"].entries()) {
    await mkdir(join(folder, name));
    for (let i = 0; i < perClass; i++) {
      const data = new Uint8Array(8 * 8 * 3).fill(255);
      const [cx, cy, radius] = [2 + chance.int(4), 2 + chance.int(4), 2 + chance.uniform()];
      for (let p = 0; p < 64; p++)
        if (Math.hypot((p % 8) - cx, Math.floor(p / 8) - cy) < radius)
          data.fill(0, p * 3, p * 3 + 3).set([200], p * 3 + 1 - c);
      const png = await encodePng({ width: 8, height: 8, channels: 3, data });
      await writeFile(join(folder, name, `${String(i).padStart(3, "0")}.png`), png);
    }
  }
  return folder;
}

/** Flags of a tokenizer that is trained in milliseconds an update. */
export const TINY_TRAINING: readonly string[] = [
  ...["--size", "8", "--ch-mult", "1,1", "--patch-nums", "1,2,4", "--channels", "32"],
  ...[
    "--res-blocks",
    "1",
    "--latent",
    "4",
    "--codes",
    "16",
    "--no-attention",
    "--no-mid-attention",
  ],
  ...["--batch", "8", "--warmup", "2", "--threads", "1", "--flip", "0.5", "--revive-every", "5"],
];

/** Lines of JSON that a command printed. */
export const jsonLines = (stdout: string): Record<string, unknown>[] =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

/** Contents of every file of a folder by name, sorted. */
export async function contents(folder: string): Promise<[string, string][]> {
  const names = readdirSync(folder).sort();
  return Promise.all(
    names.map(
      async (name): Promise<[string, string]> => [
        name,
        (await readFile(join(folder, name))).toString("base64"),
      ],
    ),
  );
}
