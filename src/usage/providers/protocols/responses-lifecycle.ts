/** Events of a socket that hold a whole response object, as OpenAI's Responses, Realtime and Live send them. */

import type { JsonPath } from "../../extract/json-scan.ts";
import { textOf } from "./json-values.ts";
import { RESPONSE_PATHS, ResponseFacts } from "./responses-facts.ts";
import { scanText } from "./socket-event.ts";

/** What such an event, or an error event, says. */
export interface Lifecycle {
  /** Empty where the event has no response object. */
  readonly facts: ResponseFacts;
  /** The lane of a Responses socket; "" is the one without a name. */
  readonly laneId: string;
  /** The response made room for a successor that the server makes by itself. */
  readonly isSteered: boolean;
  /** Sent by the stream of a response: errors of the protocol have no number. */
  readonly isNumbered: boolean;
}

/** Where the event stands: it is the message, or the member `event` of it. */
export type EventPlace = "message" | "wrapped";

const PATHS: readonly JsonPath[] = [
  ["stream_id"],
  ["sequence_number"],
  ["response", "incomplete_details", "reason"],
  ...RESPONSE_PATHS.map((path) => ["response", ...path]),
];

const PATHS_AT: Readonly<Record<EventPlace, readonly JsonPath[]>> = {
  message: PATHS,
  wrapped: PATHS.map((path) => ["event", ...path]),
};

export function readLifecycle(text: string, place: EventPlace): Lifecycle {
  const facts = new ResponseFacts();
  const own = new Map<string, unknown>();
  const skipped = place === "wrapped" ? 1 : 0;
  scanText(text, PATHS_AT[place], (path, value) => {
    const [first, ...rest] = path.slice(skipped);
    if (first !== "response") own.set(first ?? "", value);
    else if (rest[0] === "incomplete_details") own.set("reason", value);
    else facts.value(rest, value);
  });
  return {
    facts,
    laneId: textOf(own.get("stream_id")) ?? "",
    isSteered: own.get("reason") === "steered",
    isNumbered: typeof own.get("sequence_number") === "number",
  };
}
