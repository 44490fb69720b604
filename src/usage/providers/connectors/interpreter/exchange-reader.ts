/**
 * Reads one exchange of a route that costs something, and says what it came to: counted, failed, cut off, or lost. A
 * hook that throws makes its exchange (of a stream: its record) unmeasured and nothing else.
 */

import type { ResponseHead } from "../../../../flow/flow.ts";
import type { ConnectorReading, ReadEnd, Reader, ReaderContext, Reading } from "../../../handler.ts";
import { ATTEMPTED_CATEGORY } from "../definition.ts";
import type { Hook, HookContext, Predicate } from "../definition.ts";
import { Counts } from "./counts.ts";
import { readDims } from "./dims.ts";
import type { Dims } from "./dims.ts";
import { holds } from "./evaluate.ts";
import type { Exchange } from "./exchange.ts";
import { createHookContext } from "./hook-context.ts";
import { runFallback, runMeters } from "./meters.ts";
import { openRecordBody } from "./record-body.ts";
import type { RecordBody } from "./record-body.ts";
import { openResponseBody } from "./response-body.ts";
import type { ResponseBody } from "./response-body.ts";

export class ExchangeReader implements Reader {
  /** Only there where something asks for the request's body: it is not decoded for nothing. */
  readonly requestData?: (chunk: Uint8Array) => void;
  private readonly exchange: Exchange;
  private readonly isEstimateAllowed: boolean;
  private readonly counts = new Counts();
  private readonly dims = new Map<string, string>();
  private readonly hookContext: HookContext;
  private body: ResponseBody | undefined;
  private records: RecordBody | undefined;
  private hasFailed = false;
  private hasHookFault = false;

  constructor(exchange: Exchange, context: ReaderContext) {
    this.exchange = exchange;
    this.isEstimateAllowed = context.isEstimateAllowed;
    this.hookContext = createHookContext(exchange, this.counts, this.dims, () => this.hasFailed);
    if (exchange.found.route.needsRequest) this.requestData = (chunk) => exchange.requestKeeper.push(chunk);
  }

  requestEnd(): void {
    this.exchange.requestKeeper.end();
  }

  response(head: ResponseHead): void {
    const { exchange } = this;
    exchange.head = head;
    const { route } = exchange.found;
    if (!exchange.isStatusSuccess) {
      if (readsFailures(route.route.dims, route.hook)) this.body = openResponseBody(route, exchange.response);
    } else if (route.body === "ndjson" || route.body === "sse") {
      this.records = openRecordBody(route.body, exchange.response, (record) => this.record(record));
    } else this.body = openResponseBody(route, exchange.response);
  }

  push(chunk: Uint8Array): void {
    this.exchange.responseBytes += chunk.length;
    this.body?.push(chunk);
    this.records?.push(chunk);
  }

  end(end: ReadEnd): readonly Reading[] {
    const { exchange } = this;
    if (exchange.head === undefined) return [this.lost(end)];
    exchange.isResponseWhole = end.kind === "complete";
    const isParsed = this.body?.end() === true;
    exchange.text = this.body?.text;
    if (this.records !== undefined) return this.endRecords(end);
    const isSuccess = exchange.isStatusSuccess ? this.isSuccess() : false;
    if (isSuccess === undefined) return [this.lost(end)];
    return [isSuccess ? this.success(isParsed && exchange.isResponseWhole) : this.failure()];
  }

  /** Three-valued: see Predicate. */
  private isSuccess(): boolean | undefined {
    const all: Predicate = { all: this.exchange.found.route.success };
    return holds(all, this.exchange);
  }

  private success(isWhole: boolean): Reading {
    const { exchange } = this;
    const { route, definition } = exchange.found;
    runMeters(route.meters, exchange, this.counts, { state: definition.state, account: exchange.account });
    if (!isWhole && this.isEstimateAllowed) runFallback(route.fallback, exchange, this.counts);
    this.callHook((hook) => hook.onSuccess?.(this.hookContext));
    return this.reading(isWhole ? "complete" : "partial");
  }

  private failure(): Reading {
    this.hasFailed = true;
    this.callHook((hook) => hook.onFailure?.(this.hookContext));
    return { kind: "free", reason: this.exchange.isStatusSuccess ? "not_successful" : "error_status", route: this.exchange.found.name, ...this.readDims() };
  }

  /** The answer that would tell did not come. */
  private lost(end: ReadEnd): Reading {
    const { exchange } = this;
    const route = exchange.found.name;
    if (exchange.isWrite) {
      return { kind: "measured", completeness: "unknown", source: "none", route, connectorUsage: { [ATTEMPTED_CATEGORY]: 1 }, ...this.readDims() };
    }
    if (exchange.head === undefined && end.kind === "upstream_aborted") return { kind: "free", reason: "no_response", route };
    return { kind: "unmeasured", reason: "answer_lost", route };
  }

  private record(record: unknown): void {
    const { exchange } = this;
    const { route, definition } = exchange.found;
    exchange.isResponseWhole = true;
    if (this.isSuccess() !== true) return;
    runMeters(route.meters, exchange, this.counts, { state: definition.state, account: exchange.account });
    if (record !== undefined) this.callHook((hook) => hook.onRecord?.(this.hookContext, record));
  }

  private endRecords(end: ReadEnd): readonly Reading[] {
    this.records?.end();
    return [this.reading(end.kind === "complete" ? "complete" : "partial")];
  }

  private reading(completeness: "complete" | "partial"): Reading {
    const route = this.exchange.found.name;
    if (this.hasHookFault && this.records === undefined) return { kind: "unmeasured", reason: "hook_fault", route };
    const isFree = this.counts.isEmpty && completeness === "complete" && !this.hasHookFault;
    if (isFree) return { kind: "free", reason: "nothing_billable", route, ...this.readDims() };
    const reading: ConnectorReading = {
      kind: "measured",
      completeness: this.hasHookFault ? "partial" : completeness,
      source: this.counts.isEmpty ? "none" : this.counts.isEstimated ? "estimate" : "provider",
      route,
      connectorUsage: this.counts.take(),
      ...this.readDims(),
    };
    this.hasHookFault = false;
    return reading;
  }

  private readDims(): { readonly dims?: Dims } {
    readDims(this.exchange.found.route.route.dims ?? {}, this.exchange, this.dims);
    return this.dims.size === 0 ? {} : { dims: Object.fromEntries(this.dims) };
  }

  private callHook(call: (hook: Hook) => void): void {
    const { hook } = this.exchange.found.route;
    if (hook === undefined) return;
    try {
      call(hook);
    } catch {
      // The reading says so; the error itself could quote what the hook read.
      this.hasHookFault = true;
    }
  }
}

/** Whether anything looks at the body of an answer that failed. */
function readsFailures(dims: Readonly<Record<string, object>> | undefined, hook: Hook | undefined): boolean {
  return hook?.onFailure !== undefined || Object.values(dims ?? {}).some((dim) => "path" in dim || "is" in dim);
}
