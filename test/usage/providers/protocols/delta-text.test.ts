import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRunningEstimate } from "../../../../src/usage/estimate/running-estimate.ts";
import { addDeltaText, hasMember, stringMember } from "../../../../src/usage/providers/protocols/delta-text.ts";

describe("taking text out of an event", () => {
  it("finds any string that JSON can hold, in compact and in spaced form", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        const escaped = JSON.stringify(text).slice(1, -1);
        expect(stringMember(JSON.stringify({ a: 1, content: text, z: "last" }), 'content":')).toBe(escaped);
        expect(stringMember(`{"content": ${JSON.stringify(text)}, "z": 1}`, 'content":')).toBe(escaped);
      }),
    );
  });

  it("takes no member whose name only ends so, and none inside a string", () => {
    expect(stringMember('{"reasoning_content":"no","content":"yes"}', 'content":')).toBe("yes");
    expect(stringMember(JSON.stringify({ text: '"content":"no"' }), 'content":')).toBeUndefined();
    expect(stringMember('{"content":null}', 'content":')).toBeUndefined();
  });

  it("takes a cut string as far as it goes", () => {
    expect(stringMember('{"content":"half a', 'content":')).toBe("half a");
    expect(stringMember('{"content":"half \\u00e', 'content":')).toBe("half \\u00e");
  });

  it("adds the first of the members that has text", () => {
    const estimate = createRunningEstimate();
    addDeltaText(estimate, '{"content":"","reasoning":"one two three"}', ['content":', 'reasoning":']);
    expect(estimate.tokens()).toBe(3);
  });

  it("counts the text of a huge event without holding it", () => {
    const estimate = createRunningEstimate();
    addDeltaText(estimate, JSON.stringify({ content: "x".repeat(40_000) }), ['content":']);
    expect(estimate.tokens()).toBe(10_000);
  });

  it("tells a value from null", () => {
    expect(hasMember('{"usage":null}', 'usage":')).toBe(false);
    expect(hasMember('{"usage": null}', 'usage":')).toBe(false);
    expect(hasMember('{"usage": {"a":1}}', 'usage":')).toBe(true);
    expect(hasMember('{"usage":null,"x_groq":{"usage":{"a":1}}}', 'usage":')).toBe(true);
    expect(hasMember('{"content":"usage"}', 'usage":')).toBe(false);
  });
});
