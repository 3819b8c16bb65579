/** Which page is shown: the part of the address behind "#/". Works wherever static files do. */

import type { Component } from "svelte";
import type { IconName } from "../ui/icons.ts";

type Load = () => Promise<{ readonly default: Component }>;

/** In the order of the navigation; each is fetched when it is first shown. */
export const PAGES = {
  generate: { icon: "brush", load: () => import("../pages/Generate.svelte") },
  edit: { icon: "eraser", load: () => import("../pages/Edit.svelte") },
  gallery: { icon: "grid", load: () => import("../pages/Gallery.svelte") },
  train: { icon: "curve", load: () => import("../pages/Train.svelte") },
  inspect: { icon: "lens", load: () => import("../pages/Inspect.svelte") },
  learn: { icon: "book", load: () => import("../pages/Learn.svelte") },
} as const satisfies Record<string, { icon: IconName; load: Load }>;

export type PageName = keyof typeof PAGES;
export const pageNames = Object.keys(PAGES) as PageName[];

const parse = (): { page: PageName | undefined; query: URLSearchParams } => {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const page = path === "" ? "generate" : path;
  return {
    page: Object.hasOwn(PAGES, page) ? (page as PageName) : undefined,
    query: new URLSearchParams(query),
  };
};

let now = $state.raw(parse());
addEventListener("hashchange", () => {
  now = parse();
});

export const route = {
  /** undefined where the address names no page. */
  get page(): PageName | undefined {
    return now.page;
  },
  get query(): URLSearchParams {
    return now.query;
  },
};

export const linkTo = (page: PageName, query?: Readonly<Record<string, string>>): string =>
  `#/${page}${query ? `?${new URLSearchParams(query)}` : ""}`;

export const goTo = (page: PageName, query?: Readonly<Record<string, string>>): void => {
  location.hash = linkTo(page, query);
};
