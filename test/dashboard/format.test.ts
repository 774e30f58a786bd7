import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatClock,
  formatCount,
  formatDuration,
  formatPercent,
  formatRate,
  formatSpeed,
  formatValue,
  plural,
} from "../../packages/dashboard/src/format.ts";

describe("numbers as people read them", () => {
  test.each([
    [0, "0 s"],
    [59.6, "1 min 00 s"],
    [760, "12 min 40 s"],
    [7500, "2 h 05 min"],
    [47.9 * 3600, "47 h 54 min"],
    [76 * 3600, "3 d 4 h"],
    [-3, "0 s"],
    [undefined, "–"],
    [Number.POSITIVE_INFINITY, "–"],
  ])("a duration of %s seconds is %s", (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });

  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [999.6, "1.00 kB"],
    [2_512_000, "2.51 MB"],
    [25_120_000, "25.1 MB"],
    [999_499, "999 kB"],
    [999_999, "1.00 MB"],
    [5e15, "5000 TB"],
  ])("%s bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test("counts are grouped, fractions become percents, losses keep three decimals", () => {
    expect(formatCount(1234567)).toBe("1,234,567");
    expect(formatPercent(0.9132)).toBe("91.3 %");
    expect(formatPercent(null)).toBe("–");
    expect(formatValue(2.3127)).toBe("2.313");
    expect(formatValue(0)).toBe("0.000");
    expect(formatValue(0.00042)).toBe("4.20e-4");
    expect(formatValue(43210.4)).toBe("43,210");
    expect(formatValue(Number.NaN)).toBe("–");
    expect(formatRate(0.002)).toBe("2.00e-3");
    expect(formatSpeed(99.97)).toBe("100");
    expect(formatSpeed(41.24)).toBe("41.2");
    expect(plural(1, "step")).toBe("1 step");
    expect(plural(2000, "step")).toBe("2,000 steps");
  });

  test("an axis counts seconds as a clock does", () => {
    expect(formatClock(45)).toBe("0:45");
    expect(formatClock(760)).toBe("12:40");
    expect(formatClock(7500)).toBe("2:05:00");
  });
});
