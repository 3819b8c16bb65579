/** The models that come with the package: where they lie. Loads none of them. */

import { node } from "../formats/builtins.node.ts";

/** The two files of a model folder. */
export const MODEL_FILES = { var: "var.safetensors", vqvae: "vqvae.safetensors" } as const;

/** A model that came with the package. */
export interface EmbeddedModel {
  readonly name: string;
  readonly folder: string;
}

/** The package's folder: the nearest above this file with a package.json, in the build and in the sources. */
export function packageRoot(): string {
  const { existsSync } = node.fsSync;
  const { dirname, join } = node.path;
  let folder = dirname(node.url.fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder)
    folder = dirname(folder);
  return folder;
}

/** Embedded models by name. */
export function embeddedModels(): EmbeddedModel[] {
  const { existsSync, readdirSync } = node.fsSync;
  const { join } = node.path;
  const root = join(packageRoot(), "models");
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .sort()
    .map((name) => ({ name, folder: join(root, name) }))
    .filter(({ folder }) => Object.values(MODEL_FILES).every((f) => existsSync(join(folder, f))));
}
