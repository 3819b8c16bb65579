import { describe, expect, test } from "vitest";
import { bar, progress } from "./progress.ts";
import { type Terminal, terminal } from "./terminal.ts";

/** A terminal that remembers, and a clock that is set by hand. */
function listening({ tty = true, env = {} as Record<string, string> } = {}) {
  const heard: string[] = [];
  const write = (text: string) => heard.push(text);
  const ends: Terminal = terminal(
    { stdout: { write }, stderr: { write, isTTY: tty, columns: 60 } },
    env,
  );
  const clock = { ms: 0 };
  return { heard, ends, clock, now: () => clock.ms };
}

describe("the bar", () => {
  test("is empty at nothing, full at all, and never longer", () => {
    expect([bar(0, 4), bar(0.5, 4), bar(1, 4), bar(7, 4), bar(-1, 4)]).toEqual([
      "[----]",
      "[##--]",
      "[####]",
      "[####]",
      "[----]",
    ]);
  });

  test("is silent for work of less than a second", () => {
    const { heard, ends, clock, now } = listening();
    const shown = progress(ends, { of: 10, what: "work", now });
    for (let i = 1; i <= 10; i++) {
      clock.ms = i * 99;
      shown.update(i);
    }
    expect(heard).toEqual([]);
  });

  test("tells the time left from the pace, and fits the width", () => {
    const { heard, ends, clock, now } = listening();
    const shown = progress(ends, { of: 100, what: "work", now });
    for (let i = 1; i <= 20; i++) {
      clock.ms = i * 500;
      shown.update(i, "loss 0.123456789 and much more than fits");
    }
    const last = heard.at(-1)!;
    expect(last).toContain("20/100, 40 s left");
    expect(last.replace("\r", "").replace("\x1b[K", "").length).toBeLessThan(60);
  });

  test("pauses between bursts count by their time, not one by one", () => {
    const { heard, ends, clock, now } = listening();
    const shown = progress(ends, { of: 1000, what: "work", now });
    // Ten units at once, then one after four seconds: eleven in four seconds.
    for (let done = 0; done < 330; done += 11) {
      shown.update(done + 10);
      clock.ms += 4000;
      shown.update(done + 11);
    }
    expect(heard.at(-1)).toMatch(/330\/1000, [34] min \d+ s left/);
  });

  test("the first units, for which all is opened and compiled, are no measure", () => {
    const { heard, ends, clock, now } = listening();
    const shown = progress(ends, { of: 680, what: "work", now });
    clock.ms = 50_000;
    shown.update(1);
    expect(heard.at(-1)).toContain("1/680");
    expect(heard.at(-1)).not.toContain("left");
    clock.ms += 400;
    shown.update(5);
    expect(heard.at(-1)).toContain("5/680, 1 min 8 s left");
  });

  test("work done by an earlier process says nothing about the pace", () => {
    const { heard, ends, clock, now } = listening();
    const shown = progress(ends, { of: 100, from: 90, what: "work", now });
    shown.update(91);
    clock.ms = 2000;
    shown.update(92);
    expect(heard.at(-1)).toContain("92/100, 16 s left");
  });

  test("is removed at the end, and only where it was drawn", () => {
    const { heard, ends, clock, now } = listening();
    const shown = progress(ends, { of: 2, what: "work", now });
    shown.clear();
    expect(heard).toEqual([]);
    clock.ms = 2000;
    shown.update(1);
    shown.update(2);
    expect(heard.at(-1)).toBe("\r\x1b[K");
  });

  test("is a line now and then where there is no terminal, without escape codes", () => {
    const { heard, ends, clock, now } = listening({ tty: false });
    const shown = progress(ends, { of: 100, what: "work", now });
    for (let i = 1; i <= 60; i++) {
      clock.ms = i * 1000;
      shown.update(i);
    }
    expect(heard.length).toBe(4); // at 1, 16, 31 and 46 seconds
    expect(heard.join("")).not.toContain("\x1b");
    expect(heard.every((line) => line.endsWith("\n"))).toBe(true);
  });
});

describe("the terminal", () => {
  test("NO_COLOR takes the colours away and leaves the bars", () => {
    const { ends } = listening({ env: { NO_COLOR: "1" } });
    expect([ends.dim("x"), ends.live]).toEqual(["x", true]);
    expect(listening().ends.dim("x")).toBe("\x1b[2mx\x1b[22m");
  });

  test("a dumb terminal and a pipe get neither", () => {
    for (const { ends } of [listening({ env: { TERM: "dumb" } }), listening({ tty: false })])
      expect([ends.dim("x"), ends.live]).toEqual(["x", false]);
  });
});
