import { describe, expect, it } from "vitest";
import { formatCallReport, parseCallReport } from "../../src/cli/demo-call.ts";

const REPORT = { client: "openai", call: "chat", model: "gpt-5.4", responseId: null, inputTokens: 1, outputTokens: 2 };

describe("a call report", () => {
  it("is one line that reads back as it was", () => {
    const line = formatCallReport(REPORT);
    expect(line.indexOf("\n")).toBe(line.length - 1);
    expect(parseCallReport(line)).toEqual(REPORT);
  });

  it.each(["", "a warning", "null", "[]", "{}", JSON.stringify({ ...REPORT, inputTokens: "1" }), JSON.stringify({ ...REPORT, responseId: 1 })])(
    "is not %j",
    (line) => {
      expect(parseCallReport(line)).toBeUndefined();
    },
  );
});
