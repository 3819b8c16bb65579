/** The language of the page. Each page's sentences lie beside this file; here is how they are chosen. */

export const LOCALES = { en: "English", zh: "中文" } as const;
export type Locale = keyof typeof LOCALES;

type Same<T> = {
  readonly [K in keyof T]: T[K] extends string
    ? string
    : T[K] extends (...args: infer A) => string
      ? (...args: A) => string
      : Same<T[K]>;
};
/** Sentences in every language; one that is missing in any is a type error. */
export type Words<T> = Readonly<Record<Locale, Same<T>>>;

/** Sentences of one page. English says which there are. */
export const words = <const T>(all: { en: T; zh: Same<T> }): Words<T> => all as Words<T>;

const STORED = "locale";
const isLocale = (text: string | undefined | null): text is Locale =>
  text !== null && text !== undefined && Object.hasOwn(LOCALES, text);

function first(): Locale {
  const kept = document.documentElement.lang; // theme.js has put it there
  const wished = navigator.languages.map((tag) => tag.slice(0, 2)).find(isLocale);
  return stored() && isLocale(kept) ? kept : (wished ?? "en");
}

const stored = (): string | null => {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
};

const state = $state({ locale: first() });
document.documentElement.lang = state.locale;

export const locale = {
  get now(): Locale {
    return state.locale;
  },
  set(next: Locale): void {
    state.locale = next;
    document.documentElement.lang = next;
    try {
      localStorage.setItem(STORED, next);
    } catch {} // this visit only
  },
};

/** The sentences in the language of now; read it in a template or in $derived. */
export const say = <T>(all: Words<T>): Same<T> => all[state.locale];

/** 1,234.5 as the language writes it. */
export const number = (value: number, digits = 0): string =>
  value.toLocaleString(state.locale, { maximumFractionDigits: digits });

/** 90 -> "1 min 30 s", in either language. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const unit = (value: number, unit: "hour" | "minute" | "second") =>
    value.toLocaleString(state.locale, { style: "unit", unit, unitDisplay: "short" });
  if (s < 60) return unit(s, "second");
  if (s < 3600) return `${unit(Math.floor(s / 60), "minute")} ${unit(s % 60, "second")}`;
  return `${unit(Math.floor(s / 3600), "hour")} ${unit(Math.floor((s % 3600) / 60), "minute")}`;
}

/** A day and a time. */
export const moment = (ms: number): string =>
  new Date(ms).toLocaleString(state.locale, { dateStyle: "medium", timeStyle: "short" });
