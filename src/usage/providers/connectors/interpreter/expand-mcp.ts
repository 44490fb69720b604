/**
 * Tool calls of a hosted MCP server: each that succeeded is one `mcp.tool_calls`, and its result runs through the route
 * that the definition maps its tool to, as if that route had been called.
 */

import { createSseReader } from "../../../extract/sse.ts";
import type { Reading } from "../../../handler.ts";
import { parseJson, toolAnswersOf, toolCallsOf } from "../mcp.ts";
import type { ToolAnswer, ToolCall } from "../mcp.ts";
import type { Exchange } from "./exchange.ts";
import type { Expanded, Expansion, InnerRequest } from "./expansion.ts";
import type { OpenInner } from "./inner.ts";

const TOOL_CALLS_CATEGORY = "mcp.tool_calls";

/** A larger answer is not read: its calls then count as lost. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** Opens the response of a request whose calls are known by now. */
export function expandMcp(exchange: Exchange, openInner: OpenInner): Expansion {
  const calls = callsOf(exchange);
  const waiting = new Map(calls.map((call) => [call.id, call]));
  const readings: Reading[] = [];
  let succeeded = 0;
  const take = (message: unknown): void => {
    for (const answer of toolAnswersOf(message)) {
      const call = waiting.get(answer.id);
      if (call === undefined) continue;
      waiting.delete(answer.id);
      if (answer.isError) continue;
      succeeded++;
      readings.push(...resultReadings(exchange, call, answer, openInner));
    }
  };
  const body = isEventStream(exchange) ? eventBody(take) : documentBody(take);
  return {
    push: (chunk) => body.push(chunk),
    end(isComplete): Expanded {
      body.end();
      const lost = [...waiting.values()];
      return {
        readings,
        counts: succeeded > 0 ? { [TOOL_CALLS_CATEGORY]: succeeded } : {},
        isEstimated: false,
        attempted: lost.filter((call) => isWrite(exchange, call)).length,
        isWhole: isComplete && lost.length === 0,
        dims: toolDim(calls),
      };
    },
  };
}

/** How many calls a request makes that may have an effect. */
export function writesOfMcp(exchange: Exchange): number {
  return callsOf(exchange).filter((call) => isWrite(exchange, call)).length;
}

/** The request is JSON that is known whole, or nothing is known of its calls. */
function callsOf(exchange: Exchange): readonly ToolCall[] {
  return toolCallsOf(exchange.requestKeeper.body().json);
}

/** A tool that no route is known for may do anything. */
function isWrite(exchange: Exchange, { tool }: ToolCall): boolean {
  const route = mappedRoute(exchange, tool)?.route;
  if (route === undefined) return true;
  return route.effect === undefined ? [route.method].flat().every((method) => method !== "GET") : route.effect === "write";
}

function mappedRoute(exchange: Exchange, tool: string): ReturnType<Exchange["found"]["definition"]["routes"]["get"]> {
  const { definition, route } = exchange.found;
  const { tools = {} } = route.route;
  const routeId = Object.hasOwn(tools, tool) ? tools[tool] : undefined;
  return routeId === undefined ? undefined : definition.routes.get(routeId);
}

function resultReadings(exchange: Exchange, call: ToolCall, answer: ToolAnswer & { readonly isError: false }, openInner: OpenInner): readonly Reading[] {
  const mapped = mappedRoute(exchange, call.tool);
  if (mapped === undefined) return [];
  const reader = openInner(innerRequestOf(mapped.id, [mapped.route.method].flat()[0] ?? "POST", call))?.reader;
  if (reader === undefined) return [];
  reader.response({ status: 200, statusText: "", headers: ["content-type", "application/json"] });
  reader.push(Buffer.from(JSON.stringify(answer.value) ?? "null"));
  return reader.end({ kind: "complete" });
}

/** The arguments stand for the query and for the body: which of both a tool makes of them is not known. */
function innerRequestOf(routeId: string, method: string, call: ToolCall): InnerRequest {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(call.arguments)) {
    if (Array.isArray(value)) query.set(name, value.join(","));
    else if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") query.set(name, String(value));
  }
  return {
    routeId,
    method: method === "*" ? "POST" : method,
    path: "",
    query: query.toString(),
    headers: ["content-type", "application/json"],
    body: Buffer.from(JSON.stringify(call.arguments)),
  };
}

/** The tool, where a request calls one only. */
function toolDim(calls: readonly ToolCall[]): Readonly<Record<string, string>> {
  const [tool, ...others] = new Set(calls.map((call) => call.tool));
  return tool === undefined || others.length > 0 ? {} : { tool };
}

function isEventStream(exchange: Exchange): boolean {
  return /^\s*text\/event-stream\s*(?:;|$)/i.test(exchange.responseHeader("content-type") ?? "");
}

interface AnswerBody {
  push(chunk: Uint8Array): void;
  end(): void;
}

function eventBody(take: (message: unknown) => void): AnswerBody {
  return createSseReader({ maxEventChars: MAX_ANSWER_BYTES, onEvent: ({ data }) => take(parseJson(data)) });
}

function documentBody(take: (message: unknown) => void): AnswerBody {
  let chunks: Buffer[] = [];
  let bytes = 0;
  return {
    push(chunk) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) chunks = [];
      // The chunk is only lent.
      else chunks.push(Buffer.from(chunk));
    },
    end() {
      if (bytes <= MAX_ANSWER_BYTES) take(parseJson(Buffer.concat(chunks).toString("utf8")));
      chunks = [];
    },
  };
}
