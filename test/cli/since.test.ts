import { describe, expect, it } from "vitest";

import { parseTime } from "../../src/cli/since.ts";

const NOW = Date.parse("2026-11-21T10:00:00Z");

function iso(text: string): string | undefined {
  const time = parseTime(text, NOW);
  return time === undefined ? undefined : new Date(time).toISOString();
}

describe("parseTime", () => {
  it.each([
    ["24h", "2026-11-20T10:00:00.000Z"],
    ["7d", "2026-11-14T10:00:00.000Z"],
    ["90m", "2026-11-21T08:30:00.000Z"],
    ["0s", "2026-11-21T10:00:00.000Z"],
    ["2026-11-01", "2026-11-01T00:00:00.000Z"],
    ["2026-11-01T08:15", "2026-11-01T08:15:00.000Z"],
    ["2026-11-01 08:15:30", "2026-11-01T08:15:30.000Z"],
    ["2026-11-01T08:15:30.123456Z", "2026-11-01T08:15:30.123Z"],
    ["2026-11-01t08:15z", "2026-11-01T08:15:00.000Z"],
    ["2026-11-01T08:15+02:00", "2026-11-01T06:15:00.000Z"],
    ["2024-02-29", "2024-02-29T00:00:00.000Z"],
  ])("reads %s", (text, expected) => {
    expect(iso(text)).toBe(expected);
  });

  it.each(["", "yesterday", "24", "-1h", "1w", "2026-02-29", "2026-04-31T10:00Z", "2026-13-01", "2026-11-21T25:00", "2026-11-21T10", "11/21/2026", "1700000000000"])(
    "refuses %j",
    (text) => {
      expect(parseTime(text, NOW)).toBeUndefined();
    },
  );
});
