import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { InputError } from "../formats/errors.ts";
import { shellWord } from "../lab/shell-word.ts";
import { failure, Interrupted } from "./errors.ts";
import { listFlag, numberFlag, readNumber } from "./flags.ts";
import { addRecipeFlags, readRecipe } from "./recipe-flags.ts";

describe("number flags", () => {
  test.each([
    "",
    " ",
    "x",
    "1x",
    "0x10",
    "1e400",
    "Infinity",
    "NaN",
    "1.5",
    "--",
    "9007199254740993",
  ])("%j is no whole number", (text) => {
    expect(() => readNumber("--n", text, {})).toThrow(InputError);
  });

  test.each([
    ["3", 3],
    ["-1", -1],
    ["1e3", 1000],
    [" 7 ", 7],
  ])("%j is %d", (text, value) => {
    expect(readNumber("--n", text, {})).toBe(value);
  });

  test("the range is in the sentence, and its ends belong to it", () => {
    const rule = { min: 1, max: 100_000 };
    expect([readNumber("--n", "1", rule), readNumber("--n", "100000", rule)]).toEqual([1, 100_000]);
    expect(() => readNumber("--n", "0", rule)).toThrow(
      '--n "0": want a whole number from 1 to 100,000',
    );
    expect(() => readNumber("--x", "-0.1", { real: true, min: 0 })).toThrow("want a number from 0");
  });

  test("a flag shows its unit and default in the help and takes the last value", () => {
    const command = new Command().exitOverride();
    numberFlag(command, "--count <n>", {
      sentence: "How many",
      unit: "pictures",
      min: 1,
      fallback: 4,
    });
    listFlag(command, "--sides <list>", { sentence: "Sides" });
    expect(command.helpInformation()).toMatch(/How many, in pictures \(default: 4\)/);
    command.parse(["--count", "2", "--count", "3", "--sides", "1,2,4"], { from: "user" });
    expect(command.opts()).toEqual({ count: 3, sides: [1, 2, 4] });
    expect(() => command.parse(["--sides", "1,,2"], { from: "user" })).toThrow("--sides");
  });
});

describe("recipes as flags", () => {
  const read = (args: string[], before?: Record<string, unknown>) => {
    const command = new Command().exitOverride();
    addRecipeFlags(
      command,
      { weightDecay: { sentence: "Decay", real: true }, steps: { sentence: "Length" } },
      { weightDecay: 0.05, steps: 10 },
    );
    command.parse(args, { from: "user" });
    return readRecipe(command, ["weightDecay", "steps"], before);
  };

  test("what is typed wins over the run that is resumed, which wins over the default", () => {
    expect(read([])).toEqual({ weightDecay: 0.05, steps: 10 });
    expect(read([], { steps: 99 })).toEqual({ weightDecay: 0.05, steps: 99 });
    expect(read(["--steps", "3", "--weight-decay", "0"], { steps: 99 })).toEqual({
      weightDecay: 0,
      steps: 3,
    });
    // Typing the default is typing it.
    expect(read(["--steps", "10"], { steps: 99 })).toMatchObject({ steps: 10 });
  });
});

describe("how a command ends", () => {
  const system = Object.assign(new Error("ENOSPC"), { code: "ENOSPC", syscall: "write" });
  test("bad input is 2, a full disk is 2, Ctrl-C is 130, all without a stack", () => {
    expect(failure(new InputError("too large; use less"))).toEqual({
      code: 2,
      text: "underpaint: too large; use less",
    });
    expect(failure(system)).toMatchObject({
      code: 2,
      text: expect.stringMatching(/the disk is full/),
    });
    expect(failure(new Interrupted("stopped")).code).toBe(130);
  });

  test("anything else is our bug: 1, with a stack", () => {
    const { code, text } = failure(new TypeError("x is undefined"));
    expect(code).toBe(1);
    expect(text).toMatch(/TypeError: x is undefined\n\s+at /);
  });
});

test("a word goes through a shell unchanged", () => {
  expect(["runs/a", "it's", "a b", "$(x)"].map(shellWord)).toEqual([
    "runs/a",
    "'it'\\''s'",
    "'a b'",
    "'$(x)'",
  ]);
});
