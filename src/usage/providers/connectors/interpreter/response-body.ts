/** Reads a response body of one of the kinds that have a single document in them, or none, into probes. */

import { createJsonWalk } from "../../../extract/json-walk.ts";
import type { CompiledRoute } from "./compiled.ts";
import type { Probes } from "./probes.ts";

/** Told of the body's bytes, then of its end. */
export interface ResponseBody {
  push(chunk: Uint8Array): void;
  /** Whether it was what the route says it is: one whole document; also an empty body is, and whatever nobody reads. */
  end(): boolean;
  /** The whole body, trimmed, where the route reads it as text and it is short. */
  readonly text: string | undefined;
}

export function openResponseBody({ body }: Pick<CompiledRoute, "body">, probes: Probes): ResponseBody {
  switch (body) {
    case "json":
      return jsonBody(probes);
    case "text":
      return textBody(probes);
    case "none":
    case "ndjson":
    case "sse":
    case "frames":
      return UNREAD;
    default:
      return body satisfies never;
  }
}

const UNREAD: ResponseBody = { push: () => undefined, end: () => true, text: undefined };

function jsonBody(probes: Probes): ResponseBody {
  const walk = createJsonWalk(probes);
  let isEmpty = true;
  return {
    push(chunk) {
      if (chunk.length > 0) isEmpty = false;
      walk.push(chunk);
    },
    end() {
      const isWhole = walk.end();
      if (!isWhole) probes.leaveAll();
      return isWhole || isEmpty;
    },
    text: undefined,
  };
}

/** Longer texts are not told: no answer that a predicate knows is so long. */
const MAX_TEXT_BYTES = 1024;

function textBody(probes: Probes): ResponseBody {
  const held = Buffer.alloc(MAX_TEXT_BYTES);
  let bytes = 0;
  const text = (): string | undefined => (bytes > MAX_TEXT_BYTES ? undefined : held.toString("utf8", 0, bytes).trim());
  return {
    push(chunk) {
      if (bytes + chunk.length <= MAX_TEXT_BYTES) held.set(chunk, bytes);
      bytes += chunk.length;
    },
    end() {
      const whole = text();
      if (whole?.startsWith("{") === true) probeDocument(whole, probes);
      return true;
    },
    get text() {
      return text();
    },
  };
}

function probeDocument(text: string, probes: Probes): void {
  try {
    probes.document(JSON.parse(text));
  } catch {
    // No JSON: then no path leads anywhere in it.
  }
}
