/** How Node's own HTTP/1.1 parser reads bytes: the other opinion on where a message begins, ends and what it says. */

import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import { duplexPair } from "node:stream";

import { until } from "../../support/until.ts";

export interface NodeMessage {
  readonly start: string;
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

/** The requests that a Node server reads out of the bytes; `fault` is the code of its parser's error. */
export async function nodeReadsRequests(bytes: string): Promise<{ messages: NodeMessage[]; fault: string | undefined }> {
  const messages: NodeMessage[] = [];
  const state: { fault: string | undefined; isOver: boolean } = { fault: undefined, isOver: false };
  const server = createServer({ maxHeaderSize: 1 << 20 });
  const [near, far] = duplexPair();
  const take = (request: IncomingMessage): void => {
    collect(request, `${request.method ?? ""} ${request.url ?? ""}`, (message) => messages.push(message));
  };
  server.on("request", (request, response) => {
    take(request);
    request.on("end", () => response.end());
  });
  server.on("checkContinue", (request, response) => {
    take(request);
    request.on("end", () => response.end());
  });
  server.on("upgrade", (request) => {
    messages.push({ start: `${request.method ?? ""} ${request.url ?? ""}`, fields: request.rawHeaders, body: "", trailers: [] });
    state.isOver = true;
  });
  server.on("clientError", (error: Error & { code?: string }) => {
    state.fault = error.code ?? error.message;
    state.isOver = true;
  });
  server.emit("connection", far);
  near.on("data", () => undefined);
  near.on("close", () => (state.isOver = true)).on("end", () => (state.isOver = true));
  near.end(Buffer.from(bytes, "latin1"));
  await until(() => state.isOver, "Node's parser to end");
  near.destroy();
  far.destroy();
  return { messages, fault: state.fault };
}

/** The final response to one request that a Node client reads out of the bytes, and how it ended. */
export async function nodeReadsResponse(method: string, bytes: string): Promise<{ message: NodeMessage | undefined; isWhole: boolean }> {
  const [near, far] = duplexPair();
  const state: { message: NodeMessage | undefined; isWhole: boolean; isOver: boolean } = { message: undefined, isWhole: false, isOver: false };
  const request = httpRequest({ createConnection: () => near as never, method, path: "/", host: "x", maxHeaderSize: 1 << 20 });
  request.on("response", (response) => {
    collect(response, String(response.statusCode), (message) => (state.message = message));
    response.on("close", () => Object.assign(state, { isWhole: response.complete, isOver: true }));
    response.on("error", () => undefined);
  });
  request.on("error", () => (state.isOver = true));
  request.on("upgrade", (response, socket, head) => {
    state.message = { start: String(response.statusCode), fields: response.rawHeaders, body: head.toString("latin1"), trailers: [] };
    Object.assign(state, { isWhole: true, isOver: true });
    socket.destroy();
  });
  request.end();
  far.once("data", () => far.end(Buffer.from(bytes, "latin1")));
  await until(() => state.isOver, "Node's client to end");
  request.destroy();
  return { message: state.message, isWhole: state.isWhole };
}

function collect(message: IncomingMessage, start: string, done: (message: NodeMessage) => void): void {
  let body = "";
  message.setEncoding("latin1");
  message.on("data", (piece: string) => (body += piece));
  message.on("end", () => done({ start, fields: message.rawHeaders, body, trailers: message.rawTrailers }));
}
