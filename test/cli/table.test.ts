import { describe, expect, it } from "vitest";

import { type Column, renderCsv, renderTable } from "../../src/cli/table.ts";

const COLUMNS: readonly Column[] = [
  { title: "model", align: "left" },
  { title: "requests", align: "right" },
];

describe("renderTable", () => {
  it("aligns words left and numbers right, and rules the footer off", () => {
    expect(renderTable(COLUMNS, [["gpt", "1"], ["claude-sonnet", "12,345"]], ["total", "12,346"])).toBe(
      "model          requests\n" +
        "gpt                   1\n" +
        "claude-sonnet    12,345\n" +
        "─────────────  ────────\n" +
        "total            12,346\n",
    );
  });

  it("prints the header alone when there are no rows", () => {
    expect(renderTable(COLUMNS, [])).toBe("model  requests\n");
  });

  it("lets no cell write on the terminal", () => {
    expect(renderTable(COLUMNS, [["a\u001b[31mb\nc\u202ed", "1"]])).toContain("a�[31mb�c�d");
  });
});

describe("renderCsv", () => {
  it("quotes what needs quotes and ends lines with CRLF", () => {
    expect(renderCsv(["a", "b"], [["x,y", 'say "hi"'], ["line\nbreak", ""]])).toBe('a,b\r\n"x,y","say ""hi"""\r\n"line\nbreak",\r\n');
  });
});
