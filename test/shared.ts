/** Finds the shared fixtures that live beside the repository; not a home for test data itself. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "vitest";

const ROOT = fileURLToPath(new URL("../../shared/", import.meta.url));

/** Absolute path of `../shared/<path>`, or undefined where that file is absent. */
export function sharedFile(path: string): string | undefined {
  const full = `${ROOT}${path}`;
  return existsSync(full) ? full : undefined;
}

/**
 * A test that needs shared files. Skipped, with the reason in its name, when one is absent.
 * @param paths relative to `../shared`; handed to the body as absolute paths, in the same order.
 */
export function sharedTest(
  name: string,
  paths: string | readonly string[],
  body: (...files: string[]) => void | Promise<void>,
  { timeout }: { timeout?: number } = {},
): void {
  const wanted = typeof paths === "string" ? [paths] : paths;
  const found = wanted.map(sharedFile);
  const missing = wanted.filter((_, i) => found[i] === undefined);
  if (missing.length > 0) test.skip(`${name} (skipped: ../shared/${missing[0]} is absent)`);
  else test(name, () => body(...(found as string[])), timeout);
}
