/**
 * The vocabulary that `proxy/` and `usage/` share: what a flow is, what an observer of it is shown, and what a
 * gate may say. Pure types; no sockets and no usage in here.
 */

import type { RawHeaders } from "./headers.ts";

/** Everything known about a flow when its request head is in. Immutable. */
export interface FlowHead {
  /** UUIDv7 made when the flow starts. */
  readonly flowId: string;
  /** Epoch milliseconds. */
  readonly startedAtMs: number;
  readonly protocol: "http" | "websocket";
  readonly scheme: "https" | "http";
  /** The CONNECT target (or the absolute-form authority): lower case, no port, no trailing dot, no brackets. */
  readonly host: string;
  readonly port: number;
  readonly method: string;
  /** Origin-form path and query exactly as the client sent it. Holds query values: never log or store it. */
  readonly target: string;
  /** Request headers as they go upstream: no proxy or x-tallyman headers, of the hop-by-hop ones only those of its framing or upgrade. */
  readonly headers: RawHeaders;
  /** User name of the proxy credentials, if the client sent any. */
  readonly proxyUser: string | undefined;
  /** The x-tallyman-* headers that were taken out of the request. */
  readonly attributionHeaders: RawHeaders;
}

/** The head of the final (not 1xx) response, as the upstream sent it. */
export interface ResponseHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: RawHeaders;
}

/** How a flow ended. */
export type FlowOutcome =
  /** The upstream's response arrived whole. */
  | { readonly kind: "complete" }
  /** The client went away before the response was whole. */
  | { readonly kind: "client_aborted" }
  /** The upstream broke off inside the response. */
  | { readonly kind: "upstream_aborted" }
  /**
   * The proxy answered by itself: no response of the upstream exists. `code` is the contract's error code.
   * `isAnswerLost`: the request had gone up before, and may have had its effect.
   */
  | { readonly kind: "refused"; readonly status: number; readonly code: string; readonly isAnswerLost?: true };

/** Watches one flow. Every method must return at once and must not throw into the caller. */
export interface FlowTap {
  /** Request body bytes as sent (not decoded), by reference: do not modify. Of a WebSocket, what the client sent behind its request. */
  requestData(chunk: Uint8Array): void;
  requestEnd(): void;
  responseHead(head: ResponseHead): void;
  /**
   * Response body bytes as received (not decoded), by reference: do not modify. Of a WebSocket, what the upstream sent
   * behind its 101: there a promise holds these bytes back as `end` does, because a response may be finished in them.
   */
  responseData(chunk: Uint8Array): Promise<void> | undefined | void;
  /**
   * Called exactly once. A promise holds the last byte of the response back until it resolves; it never rejects
   * and resolves within the commit bound. `undefined` holds nothing back.
   */
  end(outcome: FlowOutcome): Promise<void> | undefined;
}

/** Decides at the request head whether a flow is watched. */
export interface FlowObserver {
  /** Whether TLS for this host should be terminated because some meter knows it. */
  isMetered(host: string, port: number): boolean;
  /** `undefined`: the flow passes unwatched. Never throws. */
  open(head: FlowHead): FlowTap | undefined;
  /** The error body in the shape of the host's own API, under which the proxy lays its answer. Never throws. */
  errorShape?(head: FlowHead, error: { status: number; code: string; message: string }): Record<string, unknown> | undefined;
}

/** A reason not to send a request upstream. `status` and `code` are of the contract's table. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly headers?: RawHeaders;
}

/** May hold a request back before it goes upstream. */
export interface FlowGate {
  /** `undefined` lets the request pass. */
  admit(head: FlowHead): Refusal | undefined | Promise<Refusal | undefined>;
}

/**
 * Changes a flow where the operator asked for it (TALLYMAN_INCLUDE_USAGE); everything else passes as it came. The tap sees
 * what the client sent and what the upstream sent.
 */
export interface FlowEditor {
  /** `undefined`: the flow passes as it is. Never throws. */
  edit(head: FlowHead): FlowEdit | undefined;
}

export interface FlowEdit {
  /** The body to send in place of the client's; `undefined`: this flow passes as it is, its response too. Never throws. */
  request(body: Buffer): Buffer | undefined;
  /** Asked when `request` gave a body. `undefined`: the response passes as it is. Never throws. */
  response(head: ResponseHead): ResponseFilter | undefined;
}

/** Takes parts out of a response as it passes. Both give the bytes that may go on, possibly none; never throw. */
export interface ResponseFilter {
  push(chunk: Buffer): Buffer;
  end(): Buffer;
}
