/** Where what can be had again is kept on this machine. Creates nothing. */

import { node } from "./builtins.node.ts";

/**
 * The folder for caches: UNDERPAINT_CACHE, else `underpaint` in XDG_CACHE_HOME (freedesktop.org base directories), else
 * ~/.cache/underpaint.
 */
export function cacheFolder(
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const { isAbsolute, join, resolve } = node.path;
  if (env.UNDERPAINT_CACHE) return resolve(env.UNDERPAINT_CACHE);
  const xdg = env.XDG_CACHE_HOME; // a relative one is to be ignored, says the specification
  const base = xdg && isAbsolute(xdg) ? xdg : join(node.os.homedir(), ".cache");
  return join(base, "underpaint");
}
