/**
 * The lanes of a Responses socket: requests on one `stream_id` are answered in their order, and those without one share
 * a lane (reference/model-usage.md section 5.4; ResponsesClientEvent of the `openai` package 7.57). A lane only tells
 * which request a response answers, and which response a delta is of: what is counted goes by the response's id.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import { textOf } from "./json-values.ts";
import { createRequestReader, OPENAI_REQUEST_PATHS } from "./request-facts.ts";
import { valuesOf } from "./socket-event.ts";
import { unreadRequest } from "./socket-responses.ts";
import type { OpenResponse, SocketRequest } from "./socket-responses.ts";

/** A `response.create`. Its `inputTokens` are those of the message alone. */
export interface LaneRequest extends SocketRequest {
  /** "": the lane without a name. */
  readonly laneId: string;
  /** The response that this one continues. */
  readonly previousId: string | null;
}

export interface Lane {
  /** Sent and not yet answered, oldest first. */
  readonly waiting: LaneRequest[];
  /** The request last answered. */
  last: LaneRequest;
  /** The response last created, until it is over. */
  current: OpenResponse | undefined;
  /** The response that was last over. */
  formerId: string | null;
  /** It ended by steering: the next one is the server's own. */
  isSteered: boolean;
}

/** More than a client uses. What is forgotten is missed by estimates alone. */
const MAX_LANES = 256;
const MAX_WAITING = 256;

/** A request that was too large to be read, or that was not seen. */
export const UNREAD_REQUEST: LaneRequest = { ...unreadRequest(), laneId: "", previousId: null };

/** A socket's lanes, made as they are used. */
export class Lanes {
  readonly #lanes = new Map<string, Lane>();

  /** Whether any lane has a name: else events need not be searched for one. */
  get areNamed(): boolean {
    return this.#lanes.size > (this.#lanes.has("") ? 1 : 0);
  }

  get isAnyBusy(): boolean {
    return [...this.#lanes.values()].some(({ current }) => current !== undefined);
  }

  lane(id: string): Lane {
    const known = this.#lanes.get(id);
    if (known !== undefined) return known;
    const [oldest] = this.#lanes.keys();
    if (this.#lanes.size >= MAX_LANES && oldest !== undefined) this.#lanes.delete(oldest);
    const lane: Lane = { waiting: [], last: UNREAD_REQUEST, current: undefined, formerId: null, isSteered: false };
    this.#lanes.set(id, lane);
    return lane;
  }

  ask(request: LaneRequest): void {
    const { waiting } = this.lane(request.laneId);
    waiting.push(request);
    if (waiting.length > MAX_WAITING) waiting.shift();
  }

  /** The requests that were not answered. */
  unanswered(): readonly LaneRequest[] {
    return [...this.#lanes.values()].flatMap(({ waiting }) => waiting);
  }
}

/** The request that the next response of a lane answers. One that nobody asked for goes on with the settings of the last. */
export function takeRequest(lane: Lane): LaneRequest {
  const asked = lane.isSteered ? undefined : lane.waiting.shift();
  lane.isSteered = false;
  lane.last = asked ?? { ...lane.last, previousId: lane.formerId, isWarmUp: false };
  return lane.last;
}

const OWN_PATHS: readonly JsonPath[] = [["stream_id"], ["previous_response_id"], ["generate"]];

export function readResponseCreate(text: string): LaneRequest {
  const request = createRequestReader(OPENAI_REQUEST_PATHS);
  request.push(Buffer.from(text));
  const own = valuesOf(text, OWN_PATHS);
  return {
    facts: request.facts(),
    inputTokens: request.inputTokens(),
    laneId: textOf(own.get("stream_id")) ?? "",
    previousId: textOf(own.get("previous_response_id")) ?? null,
    isWarmUp: own.get("generate") === false,
  };
}
