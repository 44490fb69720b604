import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RawHeaders } from "../../../src/flow/headers.ts";
import { boundaryOf, createMultipartReader, parameterOf, splitMultipart } from "../../../src/usage/extract/multipart.ts";

interface SeenPart {
  readonly headers: RawHeaders;
  readonly content: string;
  readonly isWhole: boolean;
}

interface Outcome {
  readonly parts: readonly SeenPart[];
  readonly isClosed: boolean;
}

function read(chunks: readonly Uint8Array[], boundary = "b", maxHeadBytes?: number): Outcome {
  const parts: SeenPart[] = [];
  const reader = createMultipartReader({
    boundary,
    ...(maxHeadBytes === undefined ? {} : { maxHeadBytes }),
    onPart(headers) {
      let content = "";
      return {
        push(chunk) {
          expect(chunk.length).toBeGreaterThan(0);
          content += Buffer.from(chunk).toString("latin1");
        },
        end: (isWhole) => void parts.push({ headers, content, isWhole }),
      };
    },
  });
  for (const chunk of chunks) {
    // The reader may keep nothing of a chunk: what it was given is overwritten as soon as the call is over.
    const lent = Uint8Array.from(chunk);
    reader.push(lent);
    lent.fill(0x23);
  }
  return { parts, isClosed: reader.end() };
}

function readText(text: string, boundary?: string): Outcome {
  return read([Buffer.from(text, "latin1")], boundary);
}

/** Every way to cut a body in two, and the cut into single bytes. */
function* splits(text: string): Generator<Uint8Array[]> {
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

const MIXED = [
  "a preamble with --b in it",
  "--b",
  "Content-Type: application/http",
  "Content-ID: <response-",
  " 1>",
  "",
  "HTTP/1.1 200 OK",
  "",
  '{"id":"m1"}',
  "--bb is no delimiter",
  "--b-",
  "\r--b",
  "--b \t",
  "",
  "two",
  "",
  "--b",
  "Content-Type: text/plain",
  "",
  "--b",
  "X: a part that ends in an empty line",
  "",
  "three",
  "",
  "",
  "--b--",
  "--b",
  "",
  "an epilogue",
].join("\r\n");

const PARTS: readonly SeenPart[] = [
  {
    headers: ["Content-Type", "application/http", "Content-ID", "<response- 1>"],
    content: 'HTTP/1.1 200 OK\r\n\r\n{"id":"m1"}\r\n--bb is no delimiter\r\n--b-\r\n\r--b',
    isWhole: true,
  },
  { headers: [], content: "two\r\n", isWhole: true },
  { headers: ["Content-Type", "text/plain"], content: "", isWhole: true },
  { headers: ["X", "a part that ends in an empty line"], content: "three\r\n\r\n", isWhole: true },
];

describe("a multipart reader", () => {
  it("gives the parts between the delimiters, and neither preamble nor epilogue", () => {
    const { parts, isClosed } = readText(MIXED);
    expect(isClosed).toBe(true);
    expect(parts).toEqual(PARTS);
  });

  it("gives the same wherever the body is cut", () => {
    const whole = readText(MIXED);
    for (const chunks of splits(MIXED)) expect(read(chunks), String(chunks[0]?.length)).toEqual(whole);
  });

  it("reads lines that end in LF alone, wherever they are cut", () => {
    const text = "--b\nA: 1\n\nfirst\n--b\n\n\n--b\n\n--b--";
    const whole = readText(text);
    expect(whole).toEqual({
      isClosed: true,
      parts: [
        { headers: ["A", "1"], content: "first", isWhole: true },
        { headers: [], content: "", isWhole: true },
        { headers: [], content: "", isWhole: true },
      ],
    });
    for (const chunks of splits(text)) expect(read(chunks)).toEqual(whole);
  });

  it("says of a part that was cut that it is not whole", () => {
    expect(readText("--b\r\n\r\nwhole\r\n--b\r\n\r\nand a part that is cut")).toMatchObject({
      isClosed: false,
      parts: [{ content: "whole", isWhole: true }, { isWhole: false }],
    });
    expect(readText("--b\r\n\r\nno last mark\r\n--b\r\n").parts).toHaveLength(1);
    expect(readText("--b\r\nA: cut in its head").parts).toEqual([]);
  });

  it("counts no part of a body without its boundary", () => {
    expect(readText("--other\r\n\r\none\r\n--other--")).toEqual({ parts: [], isClosed: false });
    expect(readText("")).toEqual({ parts: [], isClosed: false });
  });

  it("gives a part that is multipart itself as its bytes", () => {
    const inner = "--inner\r\n\r\nleaf\r\n--inner--\r\n";
    expect(readText(`--b\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n${inner}\r\n--b--`).parts[0]?.content).toBe(inner);
    expect(readText(inner, "inner").parts[0]?.content).toBe("leaf");
  });

  it("steps over a part that nobody takes", () => {
    const taken: string[] = [];
    const reader = createMultipartReader({
      boundary: "b",
      onPart: (headers) => (headers[1] === "2" ? { push: (chunk) => void taken.push(Buffer.from(chunk).toString()), end: () => undefined } : undefined),
    });
    reader.push(Buffer.from("--b\r\nN: 1\r\n\r\none\r\n--b\r\nN: 2\r\n\r\ntwo\r\n--b--"));
    expect(reader.end()).toBe(true);
    expect(taken.join("")).toBe("two");
  });

  it("stops at a head that is too large, wherever it is cut", () => {
    const text = `--b\r\n\r\nfirst\r\n--b\r\nA: ${"x".repeat(200)}\r\n\r\nsecond\r\n--b--`;
    for (const chunks of splits(text)) {
      expect(read(chunks, "b", 100)).toEqual({ isClosed: false, parts: [{ headers: [], content: "first", isWhole: true }] });
    }
  });

  it("is broken once a callback threw, and lets the fault out", () => {
    const reader = createMultipartReader({
      boundary: "b",
      onPart() {
        throw new RangeError("of the caller");
      },
    });
    expect(() => reader.push(Buffer.from("--b\r\n\r\none"))).toThrow("of the caller");
    expect(reader.isBroken).toBe(true);
    expect(() => reader.push(Buffer.from("\r\n--b\r\n\r\ntwo"))).not.toThrow();
    expect(reader.end()).toBe(false);
  });

  it("gives back what was written, however it is cut", () => {
    const content = fc.string({ unit: fc.constantFrom("-", "b", "\r", "\n", "x", " ", "\t"), maxLength: 30 }).filter((text) => !/(?:^|\n)--b(?:--|[ \t]*\r?(?:\n|$))/.test(text));
    fc.assert(
      fc.property(fc.array(content, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(200), { maxLength: 6 }), (contents, cuts) => {
        const body = Buffer.from(`${contents.map((text) => `--b\r\n\r\n${text}\r\n`).join("")}--b--\r\n`);
        const places = [0, ...cuts.map((cut) => cut % body.length).toSorted((a, b) => a - b), body.length];
        const chunks = places.slice(1).map((to, index) => body.subarray(places[index], to));
        expect(read(chunks)).toEqual({ isClosed: true, parts: contents.map((text) => ({ headers: [], content: text, isWhole: true })) });
      }),
    );
  });

  it("splits a body that is held, up to a number of parts", () => {
    const seen = splitMultipart(Buffer.from(MIXED), "b").map(({ headers, body, isWhole }) => ({ headers, content: Buffer.from(body).toString(), isWhole }));
    expect(seen).toEqual(PARTS);
    expect(splitMultipart(Buffer.from(MIXED), "b", 2)).toHaveLength(2);
    expect(splitMultipart(Buffer.from(MIXED).subarray(0, 100), "b").map(({ isWhole }) => isWhole)).toEqual([false]);
    expect(splitMultipart(Buffer.from("no parts"), "b")).toEqual([]);
  });

  it("takes any bytes", () => {
    const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => array.map((byte) => "\r\n-b: x\t"[byte % 8]!.charCodeAt(0)));
    fc.assert(fc.property(fc.array(bytes, { maxLength: 8 }), (chunks) => void read(chunks)), { numRuns: 500 });
  });
});

describe("the boundary of a content type", () => {
  it.each([
    ["multipart/mixed; boundary=b", "b"],
    ['Multipart/Related; type="application/json; boundary=no"; Boundary="a b:\\"c"', 'a b:"c'],
    ["multipart/form-data;boundary=----x", "----x"],
    ["multipart/mixed", undefined],
    ["multipart/mixed; boundary=", undefined],
    [`multipart/mixed; boundary=${"x".repeat(300)}`, undefined],
    ["application/json; boundary=b", undefined],
    [undefined, undefined],
  ])("of %s is %s", (contentType, boundary) => expect(boundaryOf(contentType)).toBe(boundary));

  it("is told from other parameters, quoted or not", () => {
    const field = 'form-data; name="a; filename=\\"x\\""; filename=b.txt';
    expect(parameterOf(field, "name")).toBe('a; filename="x"');
    expect(parameterOf(field, "filename")).toBe("b.txt");
    expect(parameterOf(field, "charset")).toBeUndefined();
  });
});
