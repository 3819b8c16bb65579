/** The studio for tests: built into a folder of its own, served by the real server or as exported files. Tests nothing itself. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { embeddedModels, MODEL_FILES } from "../../../src/image/embedded.node.ts";
import { exportStudio, type RunningServer, startServer } from "../../../src/server/index.ts";
import { newFolder } from "../cli.ts";
import { hostFolder, type StaticHost } from "./static-host.ts";

const STUDIO = fileURLToPath(new URL("../../../studio", import.meta.url));

/** A fresh build; about two seconds. */
export async function buildStudio(): Promise<string> {
  const outDir = join(await newFolder(), "studio");
  const configFile = join(STUDIO, "vite.config.ts");
  await build({ root: STUDIO, configFile, logLevel: "silent", build: { outDir, write: true } });
  return outDir;
}

/** The server of `underpaint studio` with the embedded model, on a free port. */
export async function serveStudio(
  studio: string,
  { runs, keys }: { runs?: string; keys?: string } = {},
): Promise<RunningServer> {
  const models = embeddedModels().map(({ name, folder }) => ({
    name,
    files: {
      var: join(folder, MODEL_FILES.var),
      vqvae: join(folder, MODEL_FILES.vqvae),
    },
  }));
  const folder = await newFolder();
  return startServer({
    studio,
    models,
    folder,
    runs,
    keys,
    port: 0,
    version: "test",
    now: Date.now,
  });
}

/** The exported studio under a base path, from a host that knows no headers but the type. */
export async function staticStudio(studio: string, base = "/a/b/"): Promise<StaticHost> {
  const folder = join(await newFolder(), "site");
  await exportStudio(folder, [embeddedModels()[0]!.name], { studio });
  const { url, close } = await hostFolder(folder, { base });
  return {
    url,
    async close() {
      await close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
