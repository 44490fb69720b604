/**
 * TALLYMAN_INCLUDE_USAGE: asks OpenAI-style streams for their usage where the client did not, and takes the chunk that
 * answers it out again. The only place where Tallyman changes what it carries; opt-in.
 *
 * The request's text is changed where it has to be and nowhere else: numbers, order and spaces stay as they are.
 */

import type { FlowEdit, FlowEditor, FlowHead, ResponseFilter } from "../flow/flow.ts";
import { getHeader } from "../flow/headers.ts";
import type { HostTable } from "../flow/route.ts";
import type { Handler, PendingJobs } from "./handler.ts";

/** A larger request passes as it is: parsing holds the event loop for some 3 ms a megabyte. */
const MAX_REQUEST_BYTES = 4 * 1024 * 1024;
/** An event that has not ended after this many bytes is no usage chunk. */
const MAX_HELD_BYTES = 64 * 1024;

export function createIncludeUsage(hosts: HostTable<Handler>): FlowEditor {
  return {
    edit(head) {
      try {
        return isAskable(head, hosts) ? EDIT : undefined;
      } catch {
        // A handler that throws is reported where the flow is read.
        return undefined;
      }
    },
  };
}

const EDIT: FlowEdit = {
  request(body) {
    if (body.length > MAX_REQUEST_BYTES) return undefined;
    const text = askForUsage(body.toString("utf8"));
    return text === undefined ? undefined : Buffer.from(text);
  },
  response(head) {
    const isStream = head.status === 200 && (getHeader(head.headers, "content-type") ?? "").toLowerCase().includes("text/event-stream");
    const isCoded = (getHeader(head.headers, "content-encoding") ?? "identity").toLowerCase() !== "identity";
    return isStream && !isCoded ? createUsageChunkFilter() : undefined;
  },
};

const NO_JOBS: PendingJobs = { start: () => undefined, finish: () => false, claim: () => false };

function isAskable(head: FlowHead, hosts: HostTable<Handler>): boolean {
  const handler = hosts.lookup(head.host, head.port);
  if (handler === undefined || head.method !== "POST" || head.protocol !== "http") return false;
  if (getHeader(head.headers, "content-encoding") !== undefined) return false;
  const { host, port, protocol, method, headers } = head;
  const [path = ""] = head.target.split("?", 1);
  const opened = handler.open({ host, port, protocol, method, path, query: "", headers }, { isEstimateAllowed: false, jobs: NO_JOBS });
  return opened.reportsWhenAsked === true;
}

/** The request with `stream_options.include_usage`; undefined where it does not stream, asks already, or cannot be changed safely. */
export function askForUsage(text: string): string | undefined {
  const request = parseObject(text);
  if (request?.["stream"] !== true) return undefined;
  const options = request["stream_options"];
  if (options === undefined || options === null) {
    if (options === null) return replaceOnce(text, /"stream_options"\s*:\s*null/g, '"stream_options":{"include_usage":true}');
    const end = text.lastIndexOf("}");
    return `${text.slice(0, end)},"stream_options":{"include_usage":true}${text.slice(end)}`;
  }
  if (typeof options !== "object" || Array.isArray(options) || Reflect.get(options, "include_usage") === true) return undefined;
  if (Reflect.has(options, "include_usage")) return replaceOnce(text, /"include_usage"\s*:\s*(?:false|null)/g, '"include_usage":true');
  const isEmpty = Object.keys(options).length === 0;
  return replaceOnce(text, /"stream_options"\s*:\s*\{/g, `"stream_options":{"include_usage":true${isEmpty ? "" : ","}`);
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : undefined;
  } catch {
    // No JSON: the provider will say so.
    return undefined;
  }
}

/** Undefined unless the pattern stands in the text exactly once: in a prompt it would be another. */
function replaceOnce(text: string, pattern: RegExp, replacement: string): string | undefined {
  return [...text.matchAll(pattern)].length === 1 ? text.replace(pattern, replacement) : undefined;
}

/** Drops the event that only reports usage: `choices` is empty and `usage` an object. Holds an event back until it has ended. */
export function createUsageChunkFilter(): ResponseFilter {
  let held = Buffer.alloc(0);
  /** Inside an event that was too long to be held. */
  let isPassing = false;
  return {
    push(chunk) {
      let rest = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const passed: Buffer[] = [];
      for (let end = endOfEvent(rest); end !== -1; end = endOfEvent(rest)) {
        const event = rest.subarray(0, end);
        if (isPassing || !isUsageChunk(event)) passed.push(event);
        isPassing = false;
        rest = rest.subarray(end);
      }
      if (isPassing || rest.length > MAX_HELD_BYTES) {
        isPassing = rest.length > 0 || isPassing;
        passed.push(rest);
        rest = rest.subarray(rest.length);
      }
      held = Buffer.from(rest);
      return passed.length === 1 ? (passed[0] as Buffer) : Buffer.concat(passed);
    },
    end() {
      const last = held;
      held = Buffer.alloc(0);
      return isUsageChunk(last) ? Buffer.alloc(0) : last;
    },
  };
}

const LF = 0x0a;
const CR = 0x0d;

/** The length of the first event with its blank line; -1 until that is here. Lines end in LF or CRLF. */
function endOfEvent(bytes: Buffer): number {
  for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}

const EMPTY_CHOICES = /"choices"\s*:\s*\[\s*\]/;

function isUsageChunk(event: Buffer): boolean {
  if (event.length > MAX_HELD_BYTES || !event.includes('"usage"')) return false;
  const text = event.toString("utf8");
  if (!EMPTY_CHOICES.test(text)) return false;
  const data = /^data:[ ]?(.*?)\r?$/m.exec(text)?.[1];
  const chunk = data === undefined ? undefined : parseObject(data);
  const isEmpty = Array.isArray(chunk?.["choices"]) && chunk["choices"].length === 0;
  return isEmpty && typeof chunk["usage"] === "object" && chunk["usage"] !== null;
}
