/**
 * The one upstream of the bench, a process of its own: HTTP/1.1 over TLS, hand-written so that it costs little beside
 * the proxies. argv: port, then a JSON file of leaves by host name. Answers by the request header `x-bench`.
 */

import { readFileSync } from "node:fs";
import { createSecureContext, createServer, type SecureContext, type TLSSocket } from "node:tls";
import { type Answer, completionBody, DOWNLOAD_BYTES, JSON_BYTES, PACE_MS, stampOffset, STAMP_DIGITS, streamEvents } from "./payloads.ts";

const DOWNLOAD_SLICE_BYTES = 65_536;

const [port = "", leavesFile = ""] = process.argv.slice(2);
const contexts = readContexts(leavesFile);

const head = (type: string, framing: string): string => `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nX-Request-Id: req_bench\r\n${framing}\r\n\r\n`;
const jsonBody = completionBody(JSON_BYTES);
const jsonAnswer = Buffer.concat([Buffer.from(head("application/json", `Content-Length: ${JSON_BYTES}`)), jsonBody]);
const downloadHead = head("application/json", `Content-Length: ${DOWNLOAD_BYTES}`);
const downloadBody = completionBody(DOWNLOAD_BYTES);
const streamHead = head("text/event-stream", "Transfer-Encoding: chunked");
const chunks = streamEvents().map((event) => Buffer.concat([Buffer.from(`${event.length.toString(16)}\r\n`), event, Buffer.from("\r\n")]));
const lastChunk = Buffer.from("0\r\n\r\n");

const answers: Readonly<Record<Answer, (socket: TLSSocket) => void>> = {
  json: (socket) => void socket.write(jsonAnswer),
  stream: sendStream,
  paced: sendPaced,
  download: sendDownload,
};

function sendStream(socket: TLSSocket): void {
  socket.write(streamHead);
  for (const chunk of chunks) socket.write(chunk);
  socket.write(lastChunk);
}

/** One event each PACE_MS, stamped with the moment it is written. */
function sendPaced(socket: TLSSocket): void {
  let next = 0;
  socket.write(streamHead);
  const timer = setInterval(() => {
    const chunk = chunks[next++];
    if (chunk === undefined || socket.destroyed) {
      clearInterval(timer);
      if (!socket.destroyed) socket.write(lastChunk);
    } else socket.write(stamped(chunk));
  }, PACE_MS);
}

function stamped(chunk: Buffer): Buffer {
  const offset = stampOffset(chunk);
  if (offset === undefined) return chunk;
  const copy = Buffer.from(chunk);
  copy.write(String(process.hrtime.bigint() / 1000n).padStart(STAMP_DIGITS, "0"), offset, "latin1");
  return copy;
}

/** Writes no faster than the reader takes it. */
function sendDownload(socket: TLSSocket): void {
  let sent = 0;
  socket.write(downloadHead);
  const pump = (): void => {
    while (sent < DOWNLOAD_BYTES && !socket.destroyed) {
      const slice = downloadBody.subarray(sent, sent + DOWNLOAD_SLICE_BYTES);
      sent += slice.length;
      if (!socket.write(slice)) return void socket.once("drain", pump);
    }
  };
  pump();
}

/** Reads requests one after the other: no client of the bench pipelines. */
function serve(socket: TLSSocket): void {
  let text = "";
  socket.setNoDelay();
  socket.on("error", () => socket.destroy());
  socket.on("data", (data: Buffer) => {
    text += data.toString("latin1");
    const headEnd = text.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const length = /^content-length: *(\d+)/im.exec(text.slice(0, headEnd))?.[1] ?? "0";
    if (text.length < headEnd + 4 + Number(length)) return;
    const answer = /^x-bench: *(\w+)/im.exec(text)?.[1] ?? "";
    text = "";
    if (isAnswer(answer)) answers[answer](socket);
    else socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  });
}

function isAnswer(name: string): name is Answer {
  return Object.hasOwn(answers, name);
}

function readContexts(file: string): Map<string, SecureContext> {
  const leaves: unknown = JSON.parse(readFileSync(file, "utf8"));
  if (!Array.isArray(leaves)) throw new TypeError(`${file} holds no list`);
  return new Map(leaves.map(({ host, cert, key }: { host: string; cert: string; key: string }) => [host, createSecureContext({ cert, key })]));
}

const server = createServer({ SNICallback: (name, done) => done(null, contexts.get(name)), ALPNProtocols: ["http/1.1"] }, serve);
server.on("tlsClientError", () => undefined);
server.listen(Number(port), "127.0.0.1");
