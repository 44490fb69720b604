import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { addDecimals } from "../../src/cli/decimal.ts";
import { dollars, totalRow, usageCsv, usageNotes, usageTable } from "../../src/cli/usage-table.ts";
import type { UsageRow } from "../../src/store/store.ts";

function row(key: string, requests: number, usage: Record<string, number>, rest: Partial<UsageRow> = {}): UsageRow {
  return { key, requests, usage, input_tokens: 0, output_tokens: 0, total_tokens: 0, cost: null, unpriced: 0, partial: 0, unknown: 0, ...rest };
}

const CLAUDE = row(
  "claude-sonnet-4-5", 3,
  { input_tokens: 3, input_audio_tokens: 1, cache_read_tokens: 1000, cache_write_5m_tokens: 12_304, cache_write_1h_tokens: 6, output_tokens: 401, output_reasoning_tokens: 149 },
  { input_tokens: 13_314, output_tokens: 550, total_tokens: 13_864, cost: "0.054399" },
);
const GPT = row("gpt-5", 2, { input_tokens: 20, output_tokens: 5 }, { input_tokens: 20, output_tokens: 5, total_tokens: 25, cost: "1.2", unpriced: 1, partial: 2 });

describe("usageTable", () => {
  it("prints a line a model and the total under a rule", () => {
    expect(usageTable([CLAUDE, GPT], "model")).toBe(
      "model              requests  input  cached read  cache write  output  reasoning       cost\n" +
        "claude-sonnet-4-5         3      4        1,000       12,310     401        149  $0.054399\n" +
        "gpt-5                     2     20            0            0       5          0      $1.20\n" +
        "─────────────────  ────────  ─────  ───────────  ───────────  ──────  ─────────  ─────────\n" +
        "total                     5     24        1,000       12,310     406        149  $1.254399\n",
    );
  });

  it("lists counts that are no tokens by name", () => {
    const table = usageTable([row("a", 2, { "posts.read": 1200, "users.read": 3 }), row("", 1, { web_search_requests: 2 })], "agent");
    expect(table).toContain("posts.read=1,200 users.read=3");
    expect(table).toContain("(none)");
    expect(table.split("\n")[0]).toMatch(/^agent .* other +cost$/);
  });

  it("prints a line for each category of a connector, the largest first", () => {
    expect(usageTable([row("x", 3, { "users.read": 3, "posts.read": 1200 }, { cost: "6.03" }), row("slack", 1, { "messages.sent": 1 })], "connector")).toBe(
      "connector  requests  counted        count   cost\n" +
        "x                 3  posts.read     1,200  $6.03\n" +
        "                     users.read         3\n" +
        "slack             1  messages.sent      1      -\n" +
        "─────────  ────────  ─────────────  ─────  ─────\n" +
        "total             4                        $6.03\n",
    );
  });

  it("is a header and an empty total when there is nothing", () => {
    expect(usageTable([], "model").split("\n")).toHaveLength(4);
    expect(usageTable([], "model")).toMatch(/total +0 +0 +0 +0 +0 +0 +-\n$/);
  });
});

describe("totalRow", () => {
  it("sums every number", () => {
    expect(totalRow([CLAUDE, GPT])).toEqual({
      key: "total", requests: 5,
      usage: { ...CLAUDE.usage, input_tokens: 23, output_tokens: 406 },
      input_tokens: 13_334, output_tokens: 555, total_tokens: 13_889, cost: "1.254399", unpriced: 1, partial: 2, unknown: 0,
    });
  });

  it("has no cost where no row has one", () => {
    expect(totalRow([row("a", 1, {})]).cost).toBeNull();
  });
});

describe("usageNotes", () => {
  it("says what the numbers leave out, and nothing when they leave nothing out", () => {
    expect(usageNotes(totalRow([CLAUDE]))).toEqual([]);
    expect(usageNotes(totalRow([GPT, row("u", 1, {}, { unknown: 1 })]))).toEqual([
      "1 event has no known price and is not in the cost.",
      "2 events are partial: what was seen before the response was cut off.",
      "1 flow happened whose usage is not known.",
    ]);
  });
});

describe("usageCsv", () => {
  it("has a column for every category that occurs", () => {
    expect(usageCsv([GPT, row("a,b", 1, { pages: 2 })], "model")).toBe(
      "model,requests,input_tokens,output_tokens,pages,total_input_tokens,total_output_tokens,total_tokens,cost_usd,unpriced,partial,unknown\r\n" +
        "gpt-5,2,20,5,0,20,5,25,1.2,1,2,0\r\n" +
        '"a,b",1,0,0,2,0,0,0,,0,0,0\r\n',
    );
  });
});

describe("addDecimals", () => {
  it.each([[[], "0"], [["1"], "1"], [["0.1", "0.2"], "0.3"], [["0.5", "0.5"], "1"], [["10.10", "5"], "15.1"], [["0.000000000001", "999999999"], "999999999.000000000001"], [["0.0", "0"], "0"]])(
    "sums %j",
    (amounts, expected) => {
      expect(addDecimals(amounts)).toBe(expected);
    },
  );

  it("agrees with integer arithmetic", () => {
    const text = (micros: bigint): string => `${micros / 1_000_000n}.${String(micros % 1_000_000n).padStart(6, "0")}`;
    const micros = (amount: string): bigint => {
      const [whole = "0", fraction = ""] = amount.split(".");
      return BigInt(whole) * 1_000_000n + BigInt(fraction.padEnd(6, "0"));
    };
    fc.assert(
      fc.property(fc.array(fc.bigInt(0n, 10n ** 15n), { maxLength: 20 }), (amounts) => {
        expect(micros(addDecimals(amounts.map(text)))).toBe(amounts.reduce((total, amount) => total + amount, 0n));
      }),
    );
  });
});

describe("dollars", () => {
  it.each([["0.054399", "$0.054399"], ["1.2", "$1.20"], ["0", "$0.00"], ["12345.5", "$12,345.50"], ["0.0000004", "$0.00"], ["0.100000", "$0.10"]])("writes %s", (cost, expected) => {
    expect(dollars(cost)).toBe(expected);
  });

  it("writes a dash where there is no price", () => {
    expect(dollars(null)).toBe("-");
  });
});
