/** What the files of this folder hand to one another: the options of the program, and its parts as they are made. */

import type { Logger } from "pino";

import type { Settings } from "../config/settings.ts";
import type { FlowHead } from "../flow/flow.ts";
import type { HostTable } from "../flow/route.ts";
import type { FlowFeed } from "../admin/flow-feed.ts";
import type { Metrics } from "../admin/metrics.ts";
import type { CertificateAuthority } from "../proxy/certificate-authority.ts";
import type { DurableStore } from "../store/client.ts";
import type { Counters, Handler, PriceBook, Recognition, Sink, Tokenizer, Tracker, UsageEvent } from "../usage/index.ts";

/** A gate of the embedder: undefined lets the request pass; a text refuses it (403 request_denied). */
export type BillingGate = (head: FlowHead) => string | undefined | Promise<string | undefined>;

export interface AppOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly version: string;
  /** False: no admin server (the private proxy of `tallyman run`). Default true. */
  readonly hasAdmin?: boolean;
  /** Handlers before the standard ones. */
  readonly meters?: readonly Handler[];
  /** Price overrides in the format of TALLYMAN_PRICES_FILE. */
  readonly prices?: unknown;
  readonly billingGate?: BillingGate;
  /** The caller type of a flow, where neither the operator nor the client names one. */
  readonly callerType?: (head: FlowHead) => string | undefined;
  /**
   * A Sink is delivered to like the webhook and beside it: at least once, from an outbox of its own on disk. A function
   * receives each usage event after it is stored, once, as a subscriber does.
   */
  readonly sinks?: readonly (Sink | ((event: UsageEvent) => unknown))[];
  /** Epoch milliseconds. */
  readonly clock?: () => number;
}

export interface Parts {
  readonly options: AppOptions;
  readonly hosts: HostTable<Handler>;
  /** Undefined: a host that is nobody's passes unwatched. */
  readonly recognize: Recognition | undefined;
  readonly prices: PriceBook;
  readonly authority: CertificateAuthority;
  readonly extraCaPem: string | undefined;
  readonly store: DurableStore;
  /** What a failed start has to take back, in order of making. */
  readonly undo: (() => Promise<unknown>)[];
}

export interface MeterParts {
  readonly counters: Counters;
  readonly metrics: Metrics;
  readonly tracker: Tracker;
  readonly feed: FlowFeed;
  readonly tokenizer: Tokenizer;
  readonly hasReceiver: boolean;
  readonly now: () => number;
}
