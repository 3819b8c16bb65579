/** Light or dark: as the system has it, until it is chosen by hand. */

export type Theme = "light" | "dark";

const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = document.documentElement.dataset.theme as Theme | undefined; // theme.js has put it there
const state = $state({ chosen, system: (system.matches ? "dark" : "light") as Theme });
system.addEventListener("change", ({ matches }) => {
  state.system = matches ? "dark" : "light";
});

export const theme = {
  get now(): Theme {
    return state.chosen ?? state.system;
  },
  toggle(): void {
    const next = theme.now === "dark" ? "light" : "dark";
    state.chosen = next;
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {} // this visit only
  },
};
