import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { urlKindOf } from "../../../../../src/usage/providers/connectors/x/post-url.ts";

/** What twitter-text 3.1.0 links, with the scheme or without: reference/connectors.md section 2.6, and runs of it. */
const LINKED: readonly (readonly [text: string, kind: "explicit" | "bare-domain"])[] = [
  ["HTTPS://A.io now", "explicit"],
  ["https://t.co/abc", "explicit"],
  ["http://1.2.3.com", "explicit"],
  ["http://foo.com.zzzz", "explicit"],
  ["見てhttp://b.com日", "explicit"],
  ["https://例え.jp", "explicit"],
  ["http://кто.рф", "explicit"],
  ["#a http://b.com", "explicit"],
  ["http://x_y.foo.com", "explicit"],
  ["foo.com.", "bare-domain"],
  ["see (example.org)", "bare-domain"],
  ['"foo.com"', "bare-domain"],
  ["bit.ly/abc", "bare-domain"],
  ["foo.com:80", "bare-domain"],
  ["foo.COM", "bare-domain"],
  ["a.b.c.d.com", "bare-domain"],
  ["foo.com.zzzz", "bare-domain"],
  ["foo.co.uk", "bare-domain"],
  ["x_y.foo.com", "bare-domain"],
  ["README.md updated", "bare-domain"],
  ["look at file.py", "bare-domain"],
  ["main.rs", "bare-domain"],
  ["foo.sh", "bare-domain"],
  ["foo.zip", "bare-domain"],
  ["end of sentence.Next one", "bare-domain"],
  ["3.in total", "bare-domain"],
  ["日本example.com日本", "bare-domain"],
  ["münchen.de", "bare-domain"],
  ["foo.xn--p1ai", "bare-domain"],
  ["foo.рф", "bare-domain"],
  ["foo.vermögensberater", "bare-domain"],
  ["example.中国人", "bare-domain"],
];

const NOT_LINKED: readonly string[] = [
  "",
  "hello",
  "a@b.com mail",
  "#tag.com",
  "$foo.com",
  "@user.com",
  "node.js rocks",
  "e.g. this",
  "v1.2.3",
  "http://localhost:3000",
  "http://1.2.3.4/x",
  "https://x",
  "http://",
  "ftp://a.com",
  "www.example",
  "ahttp://b.com",
  "http://a_b.com",
  "a_b.com",
  "http://-foo.com",
  "-foo.com",
  "foo-.com",
  "foo..com",
  "...foo.com",
  "a/foo.com",
  "foo.comx",
  "foo.com@bar",
  "foo.com-bar",
  "foo.com+",
  "http://user@foo.com",
  "例え.jp",
  "кто.рф",
  "foo。com",
  "foo.c",
  "1.2.3.4",
];

describe("the links in a post's text", () => {
  it.each(LINKED)("are found in %j: %s", (text, kind) => {
    expect(urlKindOf(text)).toBe(kind);
    expect(urlKindOf(`before ${text}`)).toBe(kind);
    expect(urlKindOf(`before\n${text} after`)).toBe(kind);
  });

  it.each(NOT_LINKED)("are not in %j", (text) => {
    expect(urlKindOf(text)).toBeUndefined();
    expect(urlKindOf(`before ${text} after`)).toBeUndefined();
  });

  it("are found wherever words stand around them", () => {
    const words = fc.array(fc.stringMatching(/^[a-z]{1,10}$/), { maxLength: 20 });
    fc.assert(
      fc.property(words, words, (before, after) => {
        const around = (text: string): string => [...before, text, ...after].join(" ");
        expect(urlKindOf(around("https://example.com/x"))).toBe("explicit");
        expect(urlKindOf(around("example.com"))).toBe("bare-domain");
        expect(urlKindOf(around("none"))).toBeUndefined();
      }),
    );
  });

  it("are looked for in any text without an exception", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect([undefined, "explicit", "bare-domain"]).toContain(urlKindOf(text));
      }),
    );
  });

  it("are not found in texts made to be slow: long labels and long runs of labels", () => {
    for (const text of [`@${"com.".repeat(60_000)}`, `${"a".repeat(250_000)}.com`, ".com".repeat(60_000), `@${"a.".repeat(120_000)}com`]) {
      expect(urlKindOf(text)).toBeUndefined();
    }
  });
});
