/** What the visitor has set to be drawn; it stays while pages change. Sends nothing. */

import type { DrawRequest, ModelInfo } from "../engine/engine.ts";
import { studio } from "./studio.svelte.ts";

/** What the engine takes as "no class". */
export const NO_CLASS = "none";
const SEEDS = 2 ** 32;

/** Labels are "subject/style", or plain words. */
export interface LabelParts {
  readonly subjects: readonly string[];
  readonly styles: readonly string[];
}

export function partsOf(labels: readonly string[]): LabelParts {
  const split = labels.map((label) => label.split("/"));
  if (!split.every((parts) => parts.length === 2)) return { subjects: labels, styles: [] };
  const distinct = (at: 0 | 1) => [...new Set(split.map((parts) => parts[at]!))];
  return { subjects: distinct(0), styles: distinct(1) };
}

/** "" is any; as the server and the command line take labels. */
export function labelOf(subject: string, style: string): string {
  if (subject === NO_CLASS || style === "") return subject;
  return subject === "" ? style : `${subject}/${style}`;
}

export const randomSeed = (): number => crypto.getRandomValues(new Uint32Array(1))[0]!;

const state = $state({
  model: "",
  subject: "",
  style: "",
  seed: randomSeed() % 1000,
  count: 1,
  first: 0,
  guidance: 0,
  topK: 0,
  topP: 0,
  temperature: 1,
});

export const settings = {
  get now() {
    return state;
  },
  get model(): ModelInfo | undefined {
    return studio.models.find(({ id }) => id === state.model) ?? studio.models[0];
  },
  /** Takes a model and its own way of drawing. */
  choose(id: string): void {
    state.model = id;
    settings.reset();
    state.subject = "";
    state.style = "";
  },
  reset(): void {
    const { model } = settings;
    if (!model) return;
    state.guidance = model.guidance;
    state.topK = model.top_k;
    state.topP = model.top_p;
    state.temperature = model.temperature;
  },
  /** Whether anything differs from the model's own. */
  get changed(): boolean {
    const { model } = settings;
    return (
      model !== undefined &&
      (state.guidance !== model.guidance ||
        state.topK !== model.top_k ||
        state.topP !== model.top_p ||
        state.temperature !== model.temperature)
    );
  },
  /** Sets what a picture was drawn with. */
  recall({
    model,
    label = "",
    seed,
    first,
    guidance,
    top_k,
    top_p,
    temperature,
  }: DrawRequest): void {
    const known = studio.models.find(({ id }) => id === model) ?? settings.model;
    if (known) settings.choose(known.id);
    const { styles } = partsOf(known?.labels ?? []);
    const [subject = "", style = ""] = styles.length ? label.split("/") : [label];
    const onlyStyle = style === "" && styles.includes(subject);
    state.subject = onlyStyle ? "" : subject;
    state.style = onlyStyle ? subject : style;
    state.count = 1;
    state.seed = seed ?? 0;
    state.first = first ?? 0;
    state.guidance = guidance ?? state.guidance;
    state.topK = top_k ?? state.topK;
    state.topP = top_p ?? state.topP;
    state.temperature = temperature ?? state.temperature;
  },
  request(): DrawRequest {
    const { subject, style, seed, count, first, guidance, topK, topP, temperature } = state;
    const label = labelOf(subject, style);
    return {
      model: settings.model?.id,
      ...(label ? { label } : {}),
      ...{ seed, count, first, guidance, top_k: topK, top_p: topP, temperature },
    };
  },
};

/** A seed as it may be typed. */
export const asSeed = (value: number): number =>
  Number.isFinite(value) ? Math.min(SEEDS - 1, Math.max(0, Math.floor(value))) : 0;
