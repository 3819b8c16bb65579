/** Opens the engine that the page was served with. */

import type { Engine, StudioConfig } from "./engine.ts";
import { serverEngine } from "./server.ts";

/** `studio.json` beside the page: written by the server, or by `underpaint studio --export`. */
export async function readConfig(base = document.baseURI): Promise<StudioConfig> {
  const response = await fetch(new URL("studio.json", base));
  if (!response.ok) throw new Error(`studio.json: the server answered ${response.status}`);
  return (await response.json()) as StudioConfig;
}

/** @param key for servers that want one */
export async function openEngine(
  { engine, models }: StudioConfig,
  { key }: { key?: string } = {},
): Promise<Engine> {
  if (engine === "server") return serverEngine({ key });
  return (await import("./page.ts")).pageEngine(models);
}
