import { describe, expect, test } from "vitest";
import { bytes, count, duration, figure, plural, si, table } from "./format.ts";

describe("numbers as people read them", () => {
  test.each([
    [0, "0 ms"],
    [999.4, "999 ms"],
    [999.6, "1.0 s"],
    [9949, "9.9 s"],
    [9960, "10 s"],
    [59_400, "59 s"],
    [59_600, "1 min 0 s"],
    [3_599_400, "59 min 59 s"],
    [3_600_000, "1 h 0 min"],
    [7_530_000, "2 h 6 min"],
  ])("%d ms is %s", (ms, text) => {
    expect(duration(ms)).toBe(text);
  });

  test("thousands are set apart, and one thing is not plural", () => {
    expect([count(1), count(1234), count(1234567)]).toEqual(["1", "1,234", "1,234,567"]);
    expect([plural(1, "class", "classes"), plural(0, "image")]).toEqual(["1 class", "0 images"]);
  });

  test("prefixes keep three figures and never show a thousand of one", () => {
    expect([si(0), si(999), si(999.6), si(1234567, "FLOP")]).toEqual([
      "0",
      "999",
      "1.00 k",
      "1.23 MFLOP",
    ]);
    expect([bytes(12), bytes(20_000_000)]).toEqual(["12 B", "20.0 MB"]);
  });

  test("metrics keep three figures", () => {
    expect([0, 42, 31.4159, 0.00123456, 1e-7].map(figure)).toEqual([
      "0",
      "42",
      "31.4",
      "0.00123",
      "1.00e-7",
    ]);
  });

  test("columns line up, right ones at their end, without blanks behind", () => {
    expect(
      table(
        [
          ["a", "1"],
          ["bcd", "100"],
        ],
        { right: [1] },
      ),
    ).toBe("a      1\nbcd  100");
    expect(
      table([
        ["a", ""],
        ["b", "c"],
      ]),
    ).toBe("a\nb  c");
  });
});
