/** The engine and its models, opened once for all pages. Draws nothing. */

import { ServerError } from "../../../src/client.ts";
import type { Engine, ModelInfo, StudioConfig } from "../engine/engine.ts";
import { openEngine, readConfig } from "../engine/open.ts";

export type Phase = "opening" | "ready" | "key" | "failed";

const KEY = "underpaint-key";
let phase = $state<Phase>("opening");
let engine = $state.raw<Engine>();
let models = $state.raw<readonly ModelInfo[]>([]);
let config = $state.raw<StudioConfig>();
let failure = $state.raw<unknown>();

export const studio = {
  get phase(): Phase {
    return phase;
  },
  /** Pages are shown only when there is one. */
  get engine(): Engine {
    return engine!;
  },
  get models(): readonly ModelInfo[] {
    return models;
  },
  get config(): StudioConfig | undefined {
    return config;
  },
  get failure(): unknown {
    return failure;
  },
};

/** @param key for servers that want one; kept until the tab is closed */
export async function openStudio(key = kept()): Promise<void> {
  phase = "opening";
  try {
    config = await readConfig();
    engine = await openEngine(config, { key });
    models = await engine.models();
    if (key !== undefined) keep(key);
    phase = "ready";
  } catch (error) {
    failure = error;
    phase = error instanceof ServerError && error.status === 401 ? "key" : "failed";
  }
}

function kept(): string | undefined {
  try {
    return sessionStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined;
  }
}
function keep(key: string): void {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {} // asked for again the next time
}
