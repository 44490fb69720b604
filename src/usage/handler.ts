/**
 * The contract between the meter and a handler (a model provider or a connector). A handler is pure: it does no
 * I/O, keeps no global state, and its readers are fed decoded bytes. Whatever it throws is caught by the meter and
 * turns into an `unmeasured` reading.
 */

import type { ResponseHead } from "../flow/flow.ts";
import type { RawHeaders } from "../flow/headers.ts";
import type { ConnectorUsage, ModelUsage } from "./categories.ts";
import type { EstimateBasis } from "./estimate/basis.ts";

/** What a handler is told of an exchange when it is opened. */
export interface ExchangeInfo {
  /** Lower case, no port. */
  readonly host: string;
  readonly port: number;
  readonly protocol: "http" | "websocket";
  readonly method: string;
  /** Path without the query, as sent (percent-encoded). */
  readonly path: string;
  /** The raw query without "?", or "". */
  readonly query: string;
  readonly headers: RawHeaders;
}

/** A host name, or `*.suffix` for every name below it. May carry `:port` (local servers). */
export type HostPattern = string;

/** How the response ended, as seen by the reader. `decodable` is false when the content coding broke or is unknown. */
export interface ReadEnd {
  readonly kind: "complete" | "client_aborted" | "upstream_aborted" | "undecodable";
}

/** Reads one exchange. The meter calls: requestData*, requestEnd?, response, push*, end (once, always last). */
export interface Reader {
  /** Decoded request body bytes. May be cut short or come after the response began. */
  requestData?(chunk: Uint8Array): void;
  requestEnd?(): void;
  /** What the whole request says that its estimates depend on. Called after requestEnd, if at all. */
  requestOutline?(): RequestOutline;
  /** The final response head. */
  response(head: ResponseHead): void;
  /** Decoded response body bytes, in order, in pieces of any size. The buffer is only valid during the call. */
  push(chunk: Uint8Array): void;
  /** Of a response of records, which may never end: readings on the way to it. Known when `response` was called. */
  readonly deltas?: DeltaSource | undefined;
  /**
   * The readings of this exchange so far not given: one per response that the exchange carried, in order.
   * An empty list means one `free` reading.
   */
  end(end: ReadEnd): readonly Reading[];
}

/** What came since it was last asked. */
export interface DeltaSource {
  /** So much has come that it is worth an event now. */
  readonly isDue: boolean;
  /** The readings of it; an empty list: nothing came. */
  take(): readonly Reading[];
}

/** What decides whether the tokens of a request may have to be counted here. */
export interface RequestOutline {
  readonly model: string | null;
  /** The answer will most likely come without usage: counting may begin before it does. */
  readonly isUsageUnlikely: boolean;
}

/** A whole message on a WebSocket; `oversized`: one over the decoder's bound passed unread. */
export type SocketMessage =
  | { readonly kind: "text"; readonly text: string }
  /** Only valid during the call. */
  | { readonly kind: "binary"; readonly bytes: Uint8Array }
  | { readonly kind: "oversized"; readonly bytes: number };

/**
 * Reads one WebSocket from its 101 on. The meter calls: clientMessage and serverMessage as they pass, end (once, always
 * last). A response (or turn) that a message finishes is returned from that call and from no later one.
 */
export interface SocketReader {
  clientMessage(message: SocketMessage): void;
  /** The readings of the responses that this message finished, in order. The message is held back until they are stored. */
  serverMessage(message: SocketMessage): readonly Reading[];
  /** Of a socket without turns: asked at intervals for what came since. `isDue` is not asked: serverMessage gives it then. */
  readonly deltas?: DeltaSource | undefined;
  /** The readings of responses that had begun and were not finished. */
  end(end: ReadEnd): readonly Reading[];
}

/** What the path tells before a byte of the body was read. */
export interface OpenedExchange {
  /** The event's `api`, such as "anthropic.messages". */
  readonly api: string;
  /** The event's `operation`: chat, completion, embeddings, image, count_tokens, list_models, other … */
  readonly operation: string;
  /** Whether a successful answer is expected to cost something: decides whether budgets and the queue gate apply. */
  readonly isBillable: boolean;
  /** `undefined`: the exchange costs nothing whatever the answer is, and nothing needs to be read. */
  readonly reader: Reader | undefined;
  /** True: a stream of it reports its usage only where `stream_options.include_usage` asks for it. */
  readonly reportsWhenAsked?: boolean;
  /** Of an exchange with protocol "websocket": who reads it once it is one. Undefined: its usage cannot be known. */
  readonly socket?: SocketReader;
}

/** Services the meter lends to readers. */
export interface ReaderContext {
  /** Whether usage that the provider did not send may be estimated (TALLYMAN_ESTIMATE). */
  readonly isEstimateAllowed: boolean;
  /** Responses that finish later, in another exchange (background mode). */
  readonly jobs: PendingJobs;
  /** Takes a fault that a reader caught itself: where it happened is logged, what it says is not. */
  readonly onFault?: (error: unknown) => void;
}

/**
 * Responses that were started by one exchange and finish in view of another: each finishes at most once. Ids are
 * scoped to the handler and the credential by the meter. Bounded; survives a restart.
 */
export interface PendingJobs {
  /** Remembers that `responseId` was started and has not finished. */
  start(responseId: string): void;
  /** True for exactly one caller per started id: this caller counts its usage. */
  finish(responseId: string): boolean;
  /** True for exactly one caller per id, whether it was started here or not: for what only a download shows. */
  claim(id: string): boolean;
}

/** A model provider or a connector: one file, one entry in providers/index.ts. */
export interface Handler {
  /** The event's `meter`. */
  readonly id: string;
  readonly kind: "model" | "connector";
  readonly hosts: readonly HostPattern[];
  /** Hosts that a wildcard of `hosts` covers and that are no API of this handler's: nobody's, unless an operator binds them. */
  readonly exceptHosts?: readonly HostPattern[];
  /** Of a handler that wants only some paths of a host: whether it wants this one. Another handler of the host may have the rest. */
  ownsPath?(host: string, port: number, path: string): boolean;
  /** Handlers that share the host, this one among them (shared-host.ts). */
  readonly sharers?: readonly Handler[];
  open(exchange: ExchangeInfo, context: ReaderContext): OpenedExchange;
  /** Whether a flow to a host that nobody has named is of this handler's protocol, by its path (TALLYMAN_INTERCEPT=all). Left out: never. */
  recognizes?(exchange: Pick<ExchangeInfo, "protocol" | "method" | "path">): boolean;
  /** A JSON error body in this provider's own shape, so that its SDK raises a sensible exception. */
  errorBody?(error: { readonly status: number; readonly code: string; readonly message: string }): Record<string, unknown>;
}

/** A price stated by the provider in the response. Decimal string. */
export interface StatedCost {
  readonly amount: string;
  readonly currency: string;
}

interface MeasuredBase {
  readonly kind: "measured";
  readonly completeness: "complete" | "partial" | "unknown";
  readonly source: "provider" | "estimate" | "none";
  readonly statedCost?: StatedCost;
  /** Oddities worth a debug line and a metric; names of model-usage.md section 2.5. */
  readonly anomalies?: readonly string[];
}

/** Usage of one model response. */
export interface ModelReading extends MeasuredBase {
  readonly usage: ModelUsage;
  readonly requestModel: string | null;
  readonly responseModel: string | null;
  readonly responseId: string | null;
  /** As the response states it. */
  readonly serviceTier: string | null;
  /** Facts that move the price and are no category: Anthropic `speed`, `inference_geo`, `billing_mode` … */
  readonly priceHints?: Readonly<Record<string, string>>;
  /** True when the response was streamed. */
  readonly streamed: boolean;
  /** What estimates in `usage` were made of, or can be learnt from it. The meter takes it off. */
  readonly basis?: EstimateBasis;
}

/** Usage of one connector response. */
export interface ConnectorReading extends MeasuredBase {
  readonly route: string;
  readonly connectorUsage: ConnectorUsage;
  /** Facts beside the counts, of few values each: never text, names or addresses. */
  readonly dims?: Readonly<Record<string, string>>;
  /** Of a response that held further ones: what of `connectorUsage` is theirs, under their own routes. For prices only. */
  readonly parts?: readonly ConnectorPart[];
}

export interface ConnectorPart {
  readonly route: string;
  readonly usage: ConnectorUsage;
}

/** The exchange happened and costs nothing (an error, a count, a list, a poll). */
export interface FreeReading {
  readonly kind: "free";
  readonly reason: string;
  readonly requestModel?: string | null;
  readonly responseModel?: string | null;
  readonly responseId?: string | null;
  readonly route?: string;
  /** As of a ConnectorReading. */
  readonly dims?: Readonly<Record<string, string>>;
  readonly streamed?: boolean;
}

/** The exchange happened and its usage cannot be known. */
export interface UnmeasuredReading {
  readonly kind: "unmeasured";
  readonly reason: string;
  readonly requestModel?: string | null;
  readonly route?: string;
}

export type Reading = ModelReading | ConnectorReading | FreeReading | UnmeasuredReading;
