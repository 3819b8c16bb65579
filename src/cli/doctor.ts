/** `underpaint doctor`: what works on this machine, how fast, and what to do about the rest. Changes nothing. */

import { existsSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { EMOJI_SETS } from "../data/emoji-icons.ts";
import { cacheFolder } from "../formats/cache.node.ts";
import { embeddedModels } from "../image/embedded.node.ts";
import { type BackendName, openBackend } from "../tensor/backend.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { matmul } from "../tensor/ops.ts";
import { bytes, plural, si, table } from "./format.ts";
import { VERSION } from "./package.ts";
import type { Terminal } from "./terminal.ts";

/** One line of the report. `help` says what to do; a finding that is needed and not well fails the command. */
interface Finding {
  readonly what: string;
  readonly state: "ok" | "absent" | "broken";
  readonly fact: string;
  readonly help?: string;
  readonly needed?: boolean;
}

type Check = () => Finding | readonly Finding[] | Promise<Finding | readonly Finding[]>;

const OLDEST_NODE = [20, 19] as const;

function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const fits = major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1]);
  return {
    what: "Node.js",
    state: fits ? "ok" : "broken",
    fact: `${process.versions.node} on ${process.platform} ${process.arch}`,
    help: fits ? undefined : `install version ${OLDEST_NODE.join(".")} or newer`,
    needed: true,
  };
}

const checkMachine = (): Finding => ({
  what: "machine",
  state: "ok",
  fact: `${plural(availableParallelism(), "thread")}, ${bytes(totalmem())} of memory`,
});

/** Sides of the square matrices that are multiplied; the reference's plain loops get a small one. */
const BACKENDS: Readonly<
  Record<Exclude<BackendName, "ort-webgpu">, { side: number; help: string }>
> = {
  "ort-node": {
    side: 512,
    help: "npm install onnxruntime-node (the slower ort-web is used meanwhile)",
  },
  "ort-web": { side: 512, help: "npm install onnxruntime-web" },
  reference: { side: 64, help: "reinstall underpaint: this needs no package" },
};
const ROUNDS = 5;

const checkBackends = async (): Promise<Finding[]> => {
  const found: Finding[] = [];
  for (const [name, { side, help }] of Object.entries(BACKENDS)) {
    const what = `backend ${name}`;
    try {
      const speed = await matmulSpeed(name as BackendName, side);
      found.push({
        what,
        state: "ok",
        fact: `${si(speed, "FLOP/s")} (${side} x ${side} matrices)`,
      });
    } catch (error) {
      const reason = (error as Error).message.split("\n")[0]!;
      found.push({ what, state: "absent", fact: reason, help });
    }
  }
  // One engine is enough to work.
  const engines = found.slice(0, 2);
  return engines.some(({ state }) => state === "ok")
    ? found
    : found.map((f, i) => (i < 2 ? { ...f, state: "broken", needed: true } : f));
};

async function matmulSpeed(name: BackendName, side: number): Promise<number> {
  const g = createGraph("doctor");
  output(g, "y", matmul(input(g, "a", [side, side]), input(g, "b", [side, side])));
  const session = await (await openBackend(name)).compile(g);
  try {
    const square = {
      dtype: "float32",
      shape: [side, side],
      data: new Float32Array(side * side).fill(1),
    } as const;
    const times: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const begin = performance.now();
      const { y } = await session.run({ a: square, b: square });
      times.push(performance.now() - begin);
      if (y!.data[0] !== side) throw new Error(`a product of ones gave ${y!.data[0]}, not ${side}`);
    }
    return (2 * side ** 3 * 1000) / Math.min(...times.slice(1));
  } finally {
    await session.release();
  }
}

const checkModels = (): Finding => {
  const names = embeddedModels().map((model) => model.name);
  return names.length > 0
    ? { what: "embedded models", state: "ok", fact: names.join(", ") }
    : {
        what: "embedded models",
        state: "absent",
        fact: "none",
        help: "reinstall underpaint, or name your own with --model",
      };
};

const isInstalled = (name: string): boolean => {
  try {
    createRequire(import.meta.url).resolve(`${name}/package.json`);
    return true;
  } catch {
    return false;
  }
};

const checkIcons = (): Finding[] =>
  Object.entries(EMOJI_SETS).map(([name, { npm, licence }]) =>
    isInstalled(npm)
      ? { what: `icons ${name}`, state: "ok", fact: `${npm} (${licence})` }
      : {
          what: `icons ${name}`,
          state: "absent",
          fact: "only needed to train on emoji",
          help: `npm install ${npm}`,
        },
  );

/** Debian packages of use, by a file they bring. */
const DEBIAN: readonly { name: string; file: string; use: string }[] = [
  {
    name: "dataset-fashion-mnist",
    file: "/usr/share/datasets/fashion-mnist",
    use: "training on Fashion-MNIST",
  },
  { name: "chromium", file: "/usr/bin/chromium", use: "the browser tests" },
  {
    name: "python3-torch",
    file: "/usr/lib/python3/dist-packages/torch",
    use: "comparing speed with PyTorch",
  },
];

const checkDebian = (): Finding[] =>
  DEBIAN.map(({ name, file, use }) =>
    existsSync(file)
      ? { what: name, state: "ok", fact: `for ${use}` }
      : {
          what: name,
          state: "absent",
          fact: `only needed for ${use}`,
          help: process.platform === "linux" ? `apt-get install ${name}` : undefined,
        },
  );

function checkCache(): Finding {
  const folder = cacheFolder();
  const files = existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile())
    : [];
  const size = files.reduce(
    (sum, f) => sum + (statSync(join(f.parentPath, f.name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
  return {
    what: "cache",
    state: "ok",
    fact: `${folder}: ${plural(files.length, "file")}, ${bytes(size)}`,
  };
}

const CHECKS: readonly Check[] = [
  checkNode,
  checkMachine,
  checkBackends,
  checkModels,
  checkIcons,
  checkDebian,
  checkCache,
];

export function addDoctor(program: Command, terminal: Terminal): void {
  program
    .command("doctor")
    .description("Checks what works on this machine, how fast, and says what to do about the rest")
    .option("--json", "Print one JSON object per finding on stdout", false)
    .action(async ({ json }: { json: boolean }) => {
      terminal.say(`underpaint ${VERSION}`);
      const findings: Finding[] = [];
      for (const check of CHECKS) findings.push(...[await check()].flat());
      if (json) for (const finding of findings) terminal.print(JSON.stringify(finding));
      else terminal.print(table(findings.map(row)));
      const broken = findings.filter((f) => f.needed && f.state !== "ok");
      if (broken.length > 0) {
        process.exitCode = 1;
        terminal.say(`next: ${broken[0]!.help ?? "see above"}`);
      } else terminal.say(terminal.dim("next: underpaint sample --count 32 --sheet sheet.png"));
    });
}

const row = ({ what, state, fact, help }: Finding): string[] => [
  state,
  what,
  state !== "ok" && help ? `${fact}; do: ${help}` : fact,
];
