/** What a screen reader is told of what happens elsewhere on the page. Shown nowhere. */

const state = $state({ text: "" });

export const announced = {
  get text(): string {
    return state.text;
  },
};

export const announce = (text: string): void => {
  state.text = text;
};
