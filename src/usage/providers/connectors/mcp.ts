/**
 * JSON-RPC of the Model Context Protocol as hosted servers speak it (reference/connectors.md section 1.1): which tools
 * a request calls, and what came back for each. Knows no vendor. Tool names and results stay in memory.
 *
 * Source: modelcontextprotocol.io, Streamable HTTP transport: the answer of a POST is one JSON document or an event
 * stream whose data are JSON-RPC messages.
 */

/** One `tools/call` of a request. */
export interface ToolCall {
  readonly id: string;
  readonly tool: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** What a message of the server says of one call. `value`: the structured result, where it has one that is JSON. */
export type ToolAnswer = { readonly id: string; readonly isError: true } | { readonly id: string; readonly isError: false; readonly value: unknown };

/** Calls of one request that are read; no client sends so many. */
const MAX_CALLS = 1000;

/** The tool calls of a request: one message or a batch of them. Anything else (initialize, lists, pings) calls nothing. */
export function toolCallsOf(request: unknown): readonly ToolCall[] {
  return messagesOf(request).flatMap((message) => {
    if (message.method !== "tools/call" || !isObject(message.params) || typeof message.params.name !== "string") return [];
    const id = idOf(message.id);
    return id === undefined ? [] : [{ id, tool: message.params.name, arguments: isObject(message.params.arguments) ? message.params.arguments : {} }];
  });
}

/** The answers in a message of the server, or in a batch of them. Notifications and its own requests are none. */
export function toolAnswersOf(response: unknown): readonly ToolAnswer[] {
  return messagesOf(response).flatMap((message): readonly ToolAnswer[] => {
    const id = idOf(message.id);
    if (id === undefined || "method" in message) return [];
    if (!isObject(message.result)) return "error" in message ? [{ id, isError: true }] : [];
    if (message.result.isError === true) return [{ id, isError: true }];
    return [{ id, isError: false, value: resultOf(message.result) }];
  });
}

/** `structuredContent`, else the JSON in the text of the first content. */
function resultOf(result: Readonly<Record<string, unknown>>): unknown {
  if (isObject(result.structuredContent)) return result.structuredContent;
  const [first]: readonly unknown[] = Array.isArray(result.content) ? result.content : [];
  return isObject(first) && typeof first.text === "string" ? parseJson(first.text) : undefined;
}

function messagesOf(document: unknown): readonly Readonly<Record<string, unknown>>[] {
  const messages: readonly unknown[] = Array.isArray(document) ? document.slice(0, MAX_CALLS) : [document];
  return messages.filter(isObject);
}

/** 1 and "1" are two ids. */
function idOf(id: unknown): string | undefined {
  return typeof id === "string" || typeof id === "number" ? JSON.stringify(id) : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** undefined: no JSON. The error is left out because it would repeat a part of the text. */
export function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
}
