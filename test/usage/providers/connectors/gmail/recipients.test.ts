import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countRecipients, MAX_MESSAGE_HEAD_BYTES } from "../../../../../src/usage/providers/connectors/gmail/recipients.ts";

function count(head: string, isWhole = true): number | undefined {
  return countRecipients(Buffer.from(head), isWhole);
}

/** reference/connectors.md section 4.4: five recipients. */
const FIVE_RECIPIENTS = [
  "From: me@ex.org",
  'To: "Doe, Jane" <jane@ex.org>, bob@ex.org,',
  " Team: t1@ex.org, t2@ex.org;",
  "Cc: =?utf-8?q?J=C3=A9r=C3=B4me?= <JANE@ex.org>",
  "Bcc: secret@ex.org (note, x)",
  "Subject: s",
  "",
  "To: nobody@ex.org",
].join("\r\n");

describe("the recipients of a message", () => {
  it("are its different addresses in To, Cc and Bcc, before the first empty line", () => {
    expect(count(FIVE_RECIPIENTS)).toBe(5);
    expect(count(FIVE_RECIPIENTS.replaceAll("\r\n", "\n"))).toBe(5);
  });

  it.each<[string, number]>([
    ["To: a@x", 1],
    ["To: a@x, A@X", 1],
    ["to: a@x\r\nTO: b@x\r\nBCC : c@x", 3],
    ["Resent-To: a@x\r\nReply-To: b@x\r\nX-To: c@x\r\nTo: d@x", 1],
    ["To: a@x,, ,b@x,", 2],
    ["To: a@x; b@x", 2],
    ["To: undisclosed-recipients:;", 0],
    ["To:", 0],
    ["Subject: To: a@x", 0],
    ["To: Team: a@x, Ann <b@x>;, c@x", 3],
    ['To: "a \\"b\\", c@d" <e@x>', 1],
    ['To: "jane doe"@x, "jane"@y, jane@y', 2],
    ["To: (a (nested, b@x) \\) comment) c@x", 1],
    ["To: <@relay, @other:a@x>", 1],
    ["To: Ann <a@[IPv6:2001:db8::1]>, b@[10.0.0.1]", 2],
    ["To: a . b @ x . org", 1],
    ["To: =?utf-8?Q?Doe,_Jane?= <a@x>, =?utf-8?B?YUBi?= <b@x>", 2],
    ["To: Ann Lee <a@x> (her), <b@x>", 2],
    ["To: a@x,\r\n\tb@x,\r\n c@x\r\nCc:\r\n d@x", 4],
    ["To: grüße@x, GRÜSSE@x", 2],
    ["To: a@x\r\nnot a field\r\nCc: b@x", 2],
  ])("of %j are %i", (head, expected) => {
    expect(count(`${head}\r\n\r\nbody`)).toBe(expected);
    expect(count(`${head}\n\nTo: in-the-body@x`.replaceAll("\r\n", "\n"))).toBe(expected);
  });

  it.each([
    "To: bob",
    "To: a@x b@x",
    "To: <a@x> <b@x>",
    "To: <a@x",
    'To: "open <a@x>',
    "To: (open a@x",
    "To: <>",
    "To: a@",
    "To: @x",
    "To: a@x>",
    "To: undisclosed recipients",
  ])("of %j cannot be told", (head) => expect(count(`${head}\r\n\r\nbody`)).toBeUndefined());

  it("cannot be told where the header section is cut, and can where the message is only that", () => {
    expect(count("To: a@x\r\nCc: b", false)).toBeUndefined();
    expect(count("To: a@x\r\n", false)).toBeUndefined();
    expect(count("To: a@x\r\nCc: b@x")).toBe(2);
    expect(count("")).toBe(0);
  });

  it("are looked for in the first 256 KiB only", () => {
    const head = (bytes: number): string => `To: a@x\r\nX: ${"x".repeat(bytes)}\r\nCc: b@x\r\n\r\nbody`;
    expect(count(head(MAX_MESSAGE_HEAD_BYTES - 100))).toBe(2);
    expect(count(head(MAX_MESSAGE_HEAD_BYTES))).toBeUndefined();
  });

  it("are counted one by one, however they are written", () => {
    const local = fc.stringMatching(/^[a-z0-9]{1,8}$/);
    const name = fc.constantFrom("", '"Last, First" ', "Ann ", "=?utf-8?q?=C3=A9?= ", "(c, d@e) ");
    fc.assert(
      fc.property(fc.uniqueArray(local, { minLength: 1, maxLength: 20 }), fc.array(name, { minLength: 20, maxLength: 20 }), (locals, names) => {
        const list = locals.map((text, at) => `${names[at]}<${text}@ex.org>`).join(",\r\n ");
        expect(count(`Bcc: ${list}\r\n\r\n`)).toBe(locals.length);
      }),
    );
  });

  it("take any text, in time that is linear in it", () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."<>()\"\\,;:@.[] \ta="), maxLength: 60 }), (list) => void count(`To: ${list}\r\n\r\n`)), { numRuns: 2000 });
    for (const unit of ["(", "<", '"', "=?", "a@b ", ".", " .", "[", "\\", "@", "a,", "=?a?q?", "(c) ", "( ", "\r\n ", ":", " .", "<@a,"]) count(`To: ${unit.repeat(120_000 / unit.length)}\r\n\r\n`);
  });
});
