/** Calls from a test into its page, and the models that both draw with. Tests nothing itself. */

import { existsSync, readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import type { PageCalls } from "./page.ts";
import { type ModelBytes, tinyModel } from "./work.ts";

/** Calls a function of the page; arguments and results travel as JSON. */
export const call = <Name extends keyof PageCalls>(
  page: Page,
  name: Name,
  ...args: Parameters<PageCalls[Name]>
): Promise<Awaited<ReturnType<PageCalls[Name]>>> =>
  page.evaluate(
    ([n, a]) =>
      (globalThis as never as { calls: Record<string, (...args: unknown[]) => never> }).calls[n]!(
        ...a,
      ),
    [name as string, args as unknown[]] as const,
  );

/** The embedded model takes part where it lies in the checkout. */
const EMBEDDED = new URL("../../../models/emoji64/", import.meta.url);
export const MODELS: Record<string, ModelBytes> = { tiny: tinyModel() };
const halves = ["var", "vqvae"].map((half) => new URL(`${half}.safetensors`, EMBEDDED));
if (halves.every((file) => existsSync(file))) {
  const [transformer, vqvae] = halves.map((file) => readFileSync(file));
  MODELS.emoji64 = { var: transformer!, vqvae: vqvae! };
}
