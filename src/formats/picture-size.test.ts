import { expect, test } from "vitest";
import { InputError } from "./errors.ts";
import { pictureSize, readSize, sizeText } from "./picture-size.ts";

test("one number is a square, two are width and height, in words and as options", () => {
  expect(readSize("64", "--size")).toEqual({ width: 64, height: 64 });
  expect(readSize("48x32", "--size")).toEqual({ width: 48, height: 32 });
  expect(sizeText(readSize("48x32", "--size"))).toBe("48x32");
  expect(pictureSize(32)).toEqual({ width: 32, height: 32 });
  expect(pictureSize({ width: 48, height: 32 })).toEqual({ width: 48, height: 32 });
});

test.each(["", "0", "48x0", "48x32x2", "x32", "-4", "4.5", "1e3", "9999999999"])(
  "%j is no size, and the error says what is",
  (text) => {
    expect(() => readSize(text, "--size")).toThrow(InputError);
    expect(() => readSize(text, "--size")).toThrow(/48x32/);
  },
);
