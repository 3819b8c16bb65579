/** The build: one ES module with types per export of package.json, and the command. Settles no public names. */

import { readFileSync } from "node:fs";
import { defineConfig } from "tsdown";

interface Package {
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
}

const { bin, exports }: Package = JSON.parse(readFileSync("package.json", "utf8"));
const built = Object.values(exports)
  .map((target) => (typeof target === "string" ? target : target.default))
  .concat(Object.values(bin))
  .map((file) => /^(?:\.\/)?dist\/(.+)\.js$/.exec(file)?.[1])
  .filter((name) => name !== undefined);

/** Entries of worker threads: started by their place in the package, so no export names them. */
const THREADS = ["server/drawer.worker.node"];

export default defineConfig({
  entry: Object.fromEntries([...built, ...THREADS].map((name) => [name, `src/${name}.ts`])),
  format: "esm",
  // "node" would put an import of node:module into the chunk that all entries share, and pages stop at it.
  platform: "neutral",
  target: "node20",
  // Names without hashes: equal sources give equal packages.
  hash: false,
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
  dts: true,
  plugins: [
    {
      // A worker is named by its file, which bundlers of pages must find: built files end in .js.
      name: "worker-names",
      renderChunk: (code: string) => code.replaceAll('"./worker.ts"', '"./worker.js"'),
    },
  ],
  deps: { neverBundle: [/^node:/, /^onnxruntime-/, "sharp"] },
  // Shared code apart from the entries, so that no chunk takes an entry's name.
  outputOptions: { chunkFileNames: "chunks/[name].js" },
  clean: true,
  logLevel: "warn",
});
