/**
 * The one upstream of the bench, a process of its own: HTTP/1.1 over TLS, hand-written so that it costs little beside
 * the proxies. argv: port, then a JSON file of leaves by host name. Answers by the request header `x-bench`.
 */

import { readFileSync } from "node:fs";
import { createSecureContext, createServer, type SecureContext, type TLSSocket } from "node:tls";
import { EXCHANGES, isExchangeId, type Body, type ExchangeId, type Stream } from "./exchanges.ts";
import { PACE_MS, stampOffset, STAMP_DIGITS } from "./payloads.ts";

const SLICE_BYTES = 65_536;

const [port = "", leavesFile = ""] = process.argv.slice(2);
const contexts = readContexts(leavesFile);

type Send = (socket: TLSSocket) => void;

const head = (type: string, framing: string): string => `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nX-Request-Id: req_bench\r\n${framing}\r\n\r\n`;
const lastChunk = Buffer.from("0\r\n\r\n");
/** Made when first asked for: most runs ask for few. */
const senders = new Map<ExchangeId, Promise<Send>>();

function senderOf(id: ExchangeId): Promise<Send> {
  const { answer } = EXCHANGES[id];
  const made = senders.get(id) ?? (answer.kind === "body" ? Promise.resolve(bodySender(answer)) : streamSender(answer));
  senders.set(id, made);
  return made;
}

function bodySender({ contentType, bytes }: Body): Send {
  const body = bytes();
  const start = head(contentType, `Content-Length: ${body.length}`);
  if (body.length > SLICE_BYTES) return (socket) => sendSlices(socket, start, body);
  const answer = Buffer.concat([Buffer.from(start), body]);
  return (socket) => void socket.write(answer);
}

async function streamSender({ contentType, isGzip, isPaced, pieces }: Stream): Promise<Send> {
  const start = head(contentType, `${isGzip ? "Content-Encoding: gzip\r\n" : ""}Transfer-Encoding: chunked`);
  const chunks = (await pieces()).map((piece) => Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]));
  return isPaced ? (socket) => sendPaced(socket, start, chunks) : (socket) => sendStream(socket, start, chunks);
}

function sendStream(socket: TLSSocket, start: string, chunks: readonly Buffer[]): void {
  socket.write(start);
  for (const chunk of chunks) socket.write(chunk);
  socket.write(lastChunk);
}

/** One piece each PACE_MS, stamped with the moment it is written where it has a place for that. */
function sendPaced(socket: TLSSocket, start: string, chunks: readonly Buffer[]): void {
  let next = 0;
  socket.write(start);
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
function sendSlices(socket: TLSSocket, start: string, body: Buffer): void {
  let sent = 0;
  socket.write(start);
  const pump = (): void => {
    while (sent < body.length && !socket.destroyed) {
      const slice = body.subarray(sent, sent + SLICE_BYTES);
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
    const id = /^x-bench: *([\w-]+)/im.exec(text)?.[1] ?? "";
    text = "";
    if (isExchangeId(id)) void senderOf(id).then((send) => send(socket));
    else socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  });
}

function readContexts(file: string): Map<string, SecureContext> {
  const leaves: unknown = JSON.parse(readFileSync(file, "utf8"));
  if (!Array.isArray(leaves)) throw new TypeError(`${file} holds no list`);
  return new Map(leaves.map(({ host, cert, key }: { host: string; cert: string; key: string }) => [host, createSecureContext({ cert, key })]));
}

const server = createServer({ SNICallback: (name, done) => done(null, contexts.get(name)), ALPNProtocols: ["http/1.1"] }, serve);
server.on("tlsClientError", () => undefined);
server.listen(Number(port), "127.0.0.1");
