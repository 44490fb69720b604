/**
 * Batches of HTTP messages as Google's APIs take them: multipart/mixed both ways, parts of application/http, paired by
 * Content-ID (`<x>` and `<response-x>`), else by place (reference/connectors.md section 4.5). The answer is read as it
 * passes, one part at a time.
 */

import { getHeader } from "../../../../flow/headers.ts";
import { boundaryOf, createMultipartReader, splitMultipart } from "../../../extract/multipart.ts";
import type { MultipartPart, PartSink } from "../../../extract/multipart.ts";
import type { Reader, Reading } from "../../../handler.ts";
import { UNMATCHED_CATEGORY } from "../definition.ts";
import type { Exchange } from "./exchange.ts";
import type { Expanded, Expansion, InnerRequest } from "./expansion.ts";
import { createHttpMessage, parseRequestHead } from "./http-message.ts";
import type { OpenInner } from "./inner.ts";

/** Google takes 100 calls; parts beyond this are not read. */
const MAX_CALLS = 1000;

interface Call {
  readonly contentId: string | undefined;
  readonly reader: Reader | undefined;
  readonly isWrite: boolean;
  isAnswered: boolean;
}

/** Opens the response of a batch. Its request is over by now, or is not known whole. */
export function expandBatch(exchange: Exchange, openInner: OpenInner): Expansion {
  const calls = callsOf(exchange, openInner);
  const readings: Reading[] = [];
  let parts = 0;
  const boundary = boundaryOf(exchange.responseHeader("content-type"));
  const multipart =
    boundary === undefined
      ? undefined
      : createMultipartReader({
          boundary,
          onPart(headers): PartSink | undefined {
            const place = parts++;
            const call = calls === undefined ? undefined : pairOf(calls, getHeader(headers, "content-id"), place);
            if (call === undefined) return undefined;
            call.isAnswered = true;
            return call.reader === undefined ? undefined : sinkOf(call.reader, readings);
          },
        });
  return {
    push: (chunk) => multipart?.push(chunk),
    end(isComplete): Expanded {
      const isWhole = multipart?.end() === true && isComplete;
      const lost = isWhole ? 0 : (calls ?? []).filter(({ isAnswered, isWrite }) => isWrite && !isAnswered).length;
      // What was asked is not known: only how many answers came.
      const counts: Record<string, number> = calls === undefined && parts > 0 ? { [UNMATCHED_CATEGORY]: parts } : {};
      return { readings, counts, isEstimated: calls === undefined, attempted: lost, isWhole, dims: { batch: "true" } };
    },
  };
}

/** How many inner writes a batch asks for; undefined: its request is not known whole. */
export function writesOfBatch(exchange: Exchange, openInner: OpenInner): number | undefined {
  return callsOf(exchange, openInner)?.filter(({ isWrite }) => isWrite).length;
}

/** undefined: the request is not known whole. */
function callsOf(exchange: Exchange, openInner: OpenInner): Call[] | undefined {
  const { raw, isTruncated } = exchange.requestKeeper.body();
  const boundary = boundaryOf(exchange.requestHeader("content-type"));
  if (isTruncated || boundary === undefined) return undefined;
  return splitMultipart(raw, boundary, MAX_CALLS).map((part) => {
    const request = innerRequestOf(part);
    const inner = request === undefined ? undefined : openInner(request);
    return { contentId: contentIdOf(getHeader(part.headers, "content-id")), reader: inner?.reader, isWrite: inner?.isWrite ?? false, isAnswered: false };
  });
}

function innerRequestOf(part: MultipartPart): InnerRequest | undefined {
  const parsed = parseRequestHead(part.body);
  if (parsed === undefined) return undefined;
  const { method, target, headers, bodyAt } = parsed;
  const question = target.indexOf("?");
  return {
    method,
    path: question === -1 ? target : target.slice(0, question),
    query: question === -1 ? "" : target.slice(question + 1),
    headers,
    body: part.body.subarray(bodyAt),
  };
}

function pairOf(calls: readonly Call[], contentId: string | undefined, place: number): Call | undefined {
  const id = contentIdOf(contentId);
  const call = id === undefined ? calls[place] : calls.find((each) => each.contentId !== undefined && `response-${each.contentId}` === id);
  return call?.isAnswered === true ? undefined : call;
}

/** Without its brackets. */
function contentIdOf(field: string | undefined): string | undefined {
  const id = field?.trim().replace(/^<(.*)>$/s, "$1");
  return id === "" ? undefined : id;
}

/** Feeds the answer of one call to its reader. */
function sinkOf(reader: Reader, readings: Reading[]): PartSink {
  const message = createHttpMessage({ onHead: (head) => reader.response(head), onBody: (chunk) => reader.push(chunk) });
  return {
    push: (chunk) => message.push(chunk),
    end: (isWhole) => void readings.push(...reader.end({ kind: isWhole ? "complete" : "upstream_aborted" })),
  };
}
