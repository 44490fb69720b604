/**
 * Events as OpenAI's sockets send them: one JSON object a text message, told apart by its member `type`. What an event
 * is costs a look at its beginning, so that audio passes unread; the values of one that matters are taken by a scan.
 */

import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";

/** `type` behind at most six short members, which is where every server known puts it. */
const TYPE_NEAR_BEGINNING = /^\s*\{(?:\s*"[a-z_]{1,40}"\s*:\s*(?:"[^"\\]{0,200}"|[\d.]{1,20}|null)\s*,){0,6}\s*"type"\s*:\s*"([^"\\]{1,200})"/;

const TYPE_PATHS: readonly JsonPath[] = [["type"]];

/** The event's type; undefined for what has none. An event that has it far from its beginning costs a scan of the whole text. */
export function eventTypeOf(text: string): string | undefined {
  const near = TYPE_NEAR_BEGINNING.exec(text)?.[1];
  if (near !== undefined) return near;
  let type: string | undefined;
  scanText(text, TYPE_PATHS, (_path, value) => {
    if (typeof value === "string") type = value;
  });
  return type;
}

/**
 * Calls `onValue` for each value at one of the paths, in the order of the text. `paths` is a constant array. Broken JSON
 * is told as far as it goes.
 */
export function scanText(text: string, paths: readonly JsonPath[], onValue: (path: JsonPath, value: unknown) => void): void {
  const scan = createJsonScan({ paths, onValue });
  scan.push(Buffer.from(text));
  scan.end();
}

/** The values at paths that occur once, by their path joined with dots. Of repeated keys the last. */
export function valuesOf(text: string, paths: readonly JsonPath[]): ReadonlyMap<string, unknown> {
  const values = new Map<string, unknown>();
  scanText(text, paths, (path, value) => void values.set(path.join("."), value));
  return values;
}
