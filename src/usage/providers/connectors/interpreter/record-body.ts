/** Reads a response body of records (lines of JSON, or server-sent events with JSON in them) one record at a time. */

import { createJsonWalk } from "../../../extract/json-walk.ts";
import { createNdjsonReader } from "../../../extract/ndjson.ts";
import type { LongLine } from "../../../extract/ndjson.ts";
import { createSseReader } from "../../../extract/sse.ts";
import type { Probes } from "./probes.ts";

export interface RecordBody {
  push(chunk: Uint8Array): void;
  /** A last record that lacks its end is left out where it is cut. */
  end(): void;
  /** Lines so far that were no JSON. Of events this is not told: they may be texts. */
  readonly badLines: number;
}

/** A larger event is left out, with all that follow it in the stream. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;

/**
 * `onRecord` is called for each record, when what is in it has been found; `record` is undefined where the record was
 * too long to be held.
 */
export function openRecordBody(kind: "ndjson" | "sse", probes: Probes, onRecord: (record: unknown) => void): RecordBody {
  const take = (record: unknown): void => {
    probes.clear();
    probes.document(record);
    onRecord(record);
  };
  if (kind === "sse") {
    const events = createSseReader({
      maxEventChars: MAX_EVENT_CHARS,
      onEvent({ data }) {
        const record = parseRecord(data);
        if (record !== undefined) take(record);
      },
    });
    return { push: (chunk) => events.push(chunk), end: () => events.end(), badLines: 0 };
  }
  let badLongLines = 0;
  const lines = createNdjsonReader({ onRecord: take, onLongLine: () => longRecord(probes, onRecord, () => void badLongLines++) });
  return {
    push: (chunk) => lines.push(chunk),
    end: () => lines.end(),
    get badLines() {
      return lines.badLines + badLongLines;
    },
  };
}

function longRecord(probes: Probes, onRecord: (record: unknown) => void, onBadLine: () => void): LongLine {
  probes.clear();
  const walk = createJsonWalk(probes);
  return {
    push: (chunk) => walk.push(chunk),
    end() {
      if (walk.end()) onRecord(undefined);
      else onBadLine();
    },
  };
}

/** undefined: no JSON (a comment of the server, an end marker). */
function parseRecord(text: string): unknown {
  try {
    const record: unknown = JSON.parse(text);
    return record;
  } catch {
    return undefined;
  }
}
