import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { attribute, MAX_METADATA_ENTRIES, MAX_VALUE_CHARS, type Attribution } from "../../src/usage/attribution.ts";

const NOBODY: Attribution = { orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} };

function of(proxyUser: string | undefined, attributionHeaders: readonly string[] = [], operator: Partial<Attribution> = {}): Attribution {
  return attribute({ ...NOBODY, ...operator }, { proxyUser, attributionHeaders });
}

describe("the order of precedence", () => {
  const FIELDS = [
    ["orgId", "org", "x-tallyman-org-id"],
    ["userId", "user", "x-tallyman-user-id"],
    ["agentId", "agent", "x-tallyman-agent-id"],
    ["threadId", "thread", "x-tallyman-thread-id"],
    ["callerType", "caller", "x-tallyman-caller-type"],
  ] as const;
  const cases = FIELDS.flatMap(([field, key, header]) =>
    [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => ({ field, key, header, isFixed: (bits & 4) !== 0, isCredential: (bits & 2) !== 0, isHeader: (bits & 1) !== 0 })),
  );

  it.each(cases)("$field: operator $isFixed, credentials $isCredential, header $isHeader", ({ field, key, header, isFixed, isCredential, isHeader }) => {
    const result = of(isCredential ? `;${key}=from-credentials` : undefined, isHeader ? [header, "from-header"] : [], isFixed ? { [field]: "from-operator" } : {});
    const expected = isFixed ? "from-operator" : isCredential ? "from-credentials" : isHeader ? "from-header" : null;
    expect(result).toEqual({ ...NOBODY, [field]: expected });
  });

  it("is field by field", () => {
    const result = of("agent-7;thread=T", ["x-tallyman-agent-id", "other", "x-tallyman-user-id", "u", "x-tallyman-thread-id", "other"], { orgId: "acme" });
    expect(result).toEqual({ ...NOBODY, orgId: "acme", agentId: "agent-7", threadId: "T", userId: "u" });
  });
});

describe("the user name of the credentials", () => {
  it.each([
    ["agent-7", { agentId: "agent-7" }],
    ["agent-7;thread=T;org=O", { agentId: "agent-7", threadId: "T", orgId: "O" }],
    ["agent-7; Thread = T ;ORG=O;user=U;caller=C", { agentId: "agent-7", threadId: "T", orgId: "O", userId: "U", callerType: "C" }],
    ["agent-7;thread=a=b", { agentId: "agent-7", threadId: "a=b" }],
    ["agent-7;thread", { agentId: "agent-7" }],
    ["agent-7;thread=;;=x;", { agentId: "agent-7" }],
    ["agent-7;unknown=x;__proto__=x;constructor=x", { agentId: "agent-7" }],
    [" ; ", {}],
    ["", {}],
  ])("%j is read as %j", (user, expected) => {
    expect(of(user)).toEqual({ ...NOBODY, ...expected });
  });
});

describe("values from outside", () => {
  it("are trimmed and lose control characters", () => {
    expect(of(undefined, ["x-tallyman-agent-id", "  a\u0000g\u001be\u007fnt\r\n "]).agentId).toBe("agent");
  });

  it("that are empty count as none", () => {
    expect(of(" \t ", ["x-tallyman-org-id", "", "x-tallyman-user-id", "\u0001"])).toEqual(NOBODY);
  });

  it("are cut at their bound, and never inside a character", () => {
    expect(of("a".repeat(1000)).agentId).toHaveLength(MAX_VALUE_CHARS);
    const cut = of(`${"a".repeat(MAX_VALUE_CHARS - 1)}😀`).agentId ?? "";
    expect(cut.isWellFormed()).toBe(true);
  });

  it("in headers are UTF-8 on the wire", () => {
    expect(of(undefined, ["x-tallyman-user-id", Buffer.from("Jürgen").toString("latin1")]).userId).toBe("Jürgen");
  });

  it("are well-formed, bounded text for anything that is sent", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), fc.string({ unit: "binary", maxLength: 400 }), (user, header) => {
        for (const value of Object.values(of(user, ["x-tallyman-org-id", header, "x-tallyman-meta-a", header]))) {
          const text = typeof value === "object" ? (value?.["a"] ?? "") : value;
          // eslint-disable-next-line no-control-regex -- that is the point
          expect(text).not.toMatch(/[\u0000-\u001f\u007f]/);
          expect(text.length).toBeLessThanOrEqual(MAX_VALUE_CHARS);
          expect(text.isWellFormed()).toBe(true);
        }
      }),
    );
  });
});

describe("metadata", () => {
  it("comes from headers, with names in lower case, and from the operator, who wins", () => {
    const result = of(undefined, ["X-Tallyman-Meta-Team", "red", "x-tallyman-meta-Run", "1"], { metadata: { team: "blue", region: "eu" } });
    expect(result.metadata).toEqual({ team: "blue", run: "1", region: "eu" });
  });

  it("does not touch prototypes", () => {
    const { metadata } = of(undefined, ["x-tallyman-meta-__proto__", "x", "x-tallyman-meta-constructor", "c", "x-tallyman-meta-toString", "t"]);
    expect(Object.entries(metadata)).toEqual([["constructor", "c"], ["tostring", "t"]]);
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
    expect(Object.hasOwn({}, "x")).toBe(false);
  });

  it("is bounded in number and in the length of names", () => {
    const many = Array.from({ length: 100 }, (_, index) => [`x-tallyman-meta-n${index}`, "v"]).flat();
    expect(Object.keys(of(undefined, many).metadata)).toHaveLength(MAX_METADATA_ENTRIES);
    const [name = ""] = Object.keys(of(undefined, [`x-tallyman-meta-${"n".repeat(500)}`, "v"]).metadata);
    expect(name).toHaveLength(64);
  });

  it("leaves names that are no attribution alone", () => {
    expect(of(undefined, ["x-tallyman-meta-", "v", "x-tallyman-other", "v", "x-tallyman-metadata", "v"])).toEqual(NOBODY);
  });
});

it("is the operator's own where the client says nothing", () => {
  const operator: Attribution = { ...NOBODY, orgId: "acme", metadata: { a: "b" } };
  expect(attribute(operator, { proxyUser: undefined, attributionHeaders: [] })).toEqual(operator);
});
