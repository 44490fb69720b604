import { connect, createServer, type Http2Server, type IncomingHttpHeaders } from "node:http2";
import { connect as netConnect, createServer as createNetServer, type AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";

import { createFieldDecoder, encodeFields, encodeInteger } from "./fidelity-hpack.ts";
import { dataFrame, headersFrames, Http2Wire } from "./http2-frames.ts";
import { until } from "./until.ts";

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function portOf(server: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

describe("frames and fields by hand", () => {
  it("are read by Node's server as they were meant, and its answers are read back", async () => {
    const server: Http2Server = createServer();
    closers.push(() => server.close());
    const seen: { headers: IncomingHttpHeaders; body: string }[] = [];
    server.on("stream", (stream, headers) => {
      let body = "";
      stream.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
      stream.on("end", () => {
        seen.push({ headers, body });
        stream.respond({ ":status": 207, "x-each": EVERY_CHARACTER, "x-again": String(seen.length) }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "7" }));
        stream.end("hello");
      });
    });
    const socket = netConnect(await portOf(server), "127.0.0.1");
    closers.push(() => socket.destroy());
    const wire = new Http2Wire(socket, "client");
    // The second answer is read from the dynamic table that the first has filled.
    for (const id of [1, 3]) {
      wire.write(headersFrames(id, [":method", "POST", ":path", "/a", ":scheme", "http", ":authority", "x", "x-long", "a".repeat(20_000)], false), dataFrame(id, "body", true));
      await until(() => wire.stream(id).isEnded, "the answer");
      expect(wire.stream(id).data).toBe("hello");
      expect(wire.stream(id).blocks.map((block) => block.filter((_, i) => !isDate(block, i)))).toEqual([[":status", "207", "x-each", EVERY_CHARACTER, "x-again", String(seen.length)], ["x-sum", "7"]]);
    }
    expect(seen.map(({ headers, body }) => [headers[":method"], headers[":path"], String(headers["x-long"]).length, body])).toEqual([["POST", "/a", 20_000, "body"], ["POST", "/a", 20_000, "body"]]);
  });

  it("serve Node's client", async () => {
    const server = createNetServer((socket) => {
      closers.push(() => socket.destroy());
      const wire = new Http2Wire(socket, "server", {
        onStream: (stream) => stream.isEnded && wire.write(headersFrames(stream.id, [":status", "200", "x-path", stream.blocks[0]?.[3] ?? ""], false), dataFrame(stream.id, "ok", true)),
      });
    });
    closers.push(() => server.close());
    const session = connect(`http://127.0.0.1:${await portOf(server)}`);
    closers.push(() => session.destroy());
    const request = session.request({ ":method": "GET", ":path": "/b" });
    const headers = await new Promise<IncomingHttpHeaders>((resolve) => request.once("response", resolve));
    expect(headers).toMatchObject({ ":status": 200 });
    expect(Object.values(headers)).toContain("/b");
  });

  it("pass through each other, integers of any size too", () => {
    const fields = [":method", "GET", "X-Upper", "a\r\nb: c", "x-nul", "\0", "x-long", "v".repeat(5000)];
    expect(createFieldDecoder().decode(encodeFields(fields))).toEqual(fields);
    expect([...encodeInteger(1337, 5)]).toEqual([31, 154, 10]);
  });
});

/** Each printable byte, so that each of their Huffman codes is read. */
const EVERY_CHARACTER = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).join("");

function isDate(block: readonly string[], i: number): boolean {
  return block[i - (i % 2)] === "date";
}
