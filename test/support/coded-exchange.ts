/** Recorded exchanges in a content coding, through the meter's own decoding. */

import { Buffer } from "node:buffer";
import { constants, createBrotliCompress, createGzip, createZstdCompress, zstdCompressSync } from "node:zlib";
import pino from "pino";

import { newFlowId } from "../../src/flow/flow-id.ts";
import type { FlowHead, FlowOutcome } from "../../src/flow/flow.ts";
import { FlowReading } from "../../src/usage/flow-reading.ts";
import type { Handler, PendingJobs, Reading } from "../../src/usage/handler.ts";
import { exchangeInfo, responseBytes, type RecordedExchange } from "../../src/usage/replay.ts";

export type ContentCoding = "gzip" | "br" | "zstd";

export const CONTENT_CODINGS: readonly ContentCoding[] = ["gzip", "br", "zstd"];

/** Reads an exchange whose answer is coded, and flushed after every event; with zstd the request is coded too, as Codex does it. */
export async function readCoded(exchange: RecordedExchange, handler: Handler, coding: ContentCoding, jobs: PendingJobs): Promise<readonly Reading[]> {
  const { response, options } = exchange;
  const isRequestCoded = coding === "zstd" && exchange.requestBody !== "";
  const reading = new FlowReading(handler, headOf(exchange, isRequestCoded), {
    attribute: () => ({ orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} }),
    isBillable: () => true,
    jobsFor: () => jobs,
    isEstimateAllowed: options.estimate ?? true,
    logger: pino({ level: "silent" }),
  });
  reading.requestData(isRequestCoded ? zstdCompressSync(exchange.requestBody) : Buffer.from(exchange.requestBody));
  reading.requestEnd();
  if (response !== undefined) {
    reading.responseHead({ ...response, headers: [...response.headers, "Content-Encoding", coding] });
    for (const piece of await coded(responseBytes(response, options), coding)) reading.responseData([piece]);
  }
  return reading.finish(outcomeOf(exchange));
}

function headOf(exchange: RecordedExchange, isCoded: boolean): FlowHead {
  const { host, port, protocol, method, headers } = exchangeInfo(exchange);
  return {
    flowId: newFlowId(0),
    startedAtMs: 0,
    protocol,
    scheme: "https",
    host,
    port,
    method,
    target: exchange.target,
    headers: isCoded ? [...headers, "Content-Encoding", "zstd"] : headers,
    proxyUser: undefined,
    attributionHeaders: [],
  };
}

function outcomeOf({ response, options: { end } }: RecordedExchange): FlowOutcome {
  if (end === "client_aborted" || end === "upstream_aborted") return { kind: end };
  return { kind: response === undefined ? "client_aborted" : "complete" };
}

const FLUSH = { gzip: constants.Z_SYNC_FLUSH, br: constants.BROTLI_OPERATION_FLUSH, zstd: constants.ZSTD_e_flush } as const;

/** What a server sends that compresses a stream, and flushes after each event of it. */
async function coded(body: Uint8Array, coding: ContentCoding): Promise<readonly Uint8Array[]> {
  const encoder = coding === "gzip" ? createGzip() : coding === "br" ? createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }) : createZstdCompress();
  const pieces: Uint8Array[] = [];
  encoder.on("data", (piece: Uint8Array) => pieces.push(piece));
  const isOver = new Promise((resolve, reject) => void encoder.once("end", resolve).once("error", reject));
  for (const event of eventsOf(Buffer.from(body))) {
    encoder.write(event);
    await new Promise<void>((resolve) => encoder.flush(FLUSH[coding], resolve));
  }
  encoder.end();
  await isOver;
  return pieces;
}

/** Pieces that end in an empty line, and the rest; more than a few are put together. */
function eventsOf(body: Buffer): readonly Buffer[] {
  const events: Buffer[] = [];
  let from = 0;
  for (let at = body.indexOf("\n\n"); at !== -1 && events.length < MAX_FLUSHES; at = body.indexOf("\n\n", from)) {
    events.push(body.subarray(from, at + 2));
    from = at + 2;
  }
  return from < body.length ? [...events, body.subarray(from)] : events;
}

const MAX_FLUSHES = 50;
