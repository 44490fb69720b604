/**
 * Reads one exchange of a route that costs something, and says what it came to: counted, failed, cut off, or lost. A
 * hook that throws makes its exchange (of a stream: its record) unmeasured and nothing else.
 */

import type { ResponseHead } from "../../../../flow/flow.ts";
import type { ConnectorReading, DeltaSource, FreeReading, ReadEnd, Reader, ReaderContext, Reading, UnmeasuredReading } from "../../../handler.ts";
import { ATTEMPTED_CATEGORY, BAD_LINES_CATEGORY } from "../definition.ts";
import type { Hook, HookContext, Predicate } from "../definition.ts";
import { Counts, MAX_ITEMS } from "./counts.ts";
import { readDims } from "./dims.ts";
import type { Dims } from "./dims.ts";
import { holds } from "./evaluate.ts";
import type { Exchange } from "./exchange.ts";
import { attemptedWrites, openExpansion, takeUp } from "./expand.ts";
import type { Expanded, Expansion } from "./expansion.ts";
import { createHookContext } from "./hook-context.ts";
import { openInnerOf } from "./inner.ts";
import type { OpenInner } from "./inner.ts";
import { runFallback, runMeters } from "./meters.ts";
import { openRecordBody } from "./record-body.ts";
import type { RecordBody } from "./record-body.ts";
import { openResponseBody } from "./response-body.ts";
import type { ResponseBody } from "./response-body.ts";
import { watchIds } from "./watch-ids.ts";

/** What a connector's reader needs of the meter. */
export type ConnectorContext = Pick<ReaderContext, "isEstimateAllowed" | "onFault">;

export class ExchangeReader implements Reader {
  /** Only there where something asks for the request's body: it is not decoded for nothing. */
  readonly requestData?: (chunk: Uint8Array) => void;
  private readonly exchange: Exchange;
  private readonly context: ConnectorContext;
  private readonly counts: Counts;
  private readonly dims = new Map<string, string>();
  private hookContext: HookContext | undefined;
  private readonly source: DeltaSource;
  private body: ResponseBody | undefined;
  private records: RecordBody | undefined;
  private expansion: Expansion | undefined;
  private toldBadLines = 0;
  private hasFailed = false;
  private hasHookFault = false;

  constructor(exchange: Exchange, context: ConnectorContext) {
    this.exchange = exchange;
    this.context = context;
    const counts = new Counts(exchange.found.definition.unknownKeys);
    this.counts = counts;
    this.source = {
      get isDue() {
        return counts.items >= MAX_ITEMS;
      },
      take: () => this.takeDelta(),
    };
    exchange.onId = watchIds(exchange, this.counts, this.dims);
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
      // Errors are documents, whatever a success is.
      const body = route.body === "text" ? "text" : "json";
      if (readsFailures(route.route.dims, route.hook)) this.body = openResponseBody({ body }, exchange.response);
    } else if (route.route.expand !== undefined) this.expansion = openExpansion(exchange, this.openInner());
    else if (route.body === "ndjson" || route.body === "sse") {
      this.records = openRecordBody(route.body, exchange.response, (record) => this.record(record));
    } else this.body = openResponseBody(route, exchange.response);
  }

  push(chunk: Uint8Array): void {
    this.exchange.responseBytes += chunk.length;
    this.body?.push(chunk);
    this.records?.push(chunk);
    this.expansion?.push(chunk);
  }

  end(end: ReadEnd): readonly Reading[] {
    const { exchange } = this;
    if (exchange.head === undefined) return [this.lost(end)];
    exchange.isResponseWhole = end.kind === "complete";
    const isParsed = this.body?.end() ?? true;
    exchange.text = this.body?.text;
    if (this.records !== undefined) return this.endRecords(end);
    const expanded = this.expansion?.end(end.kind === "complete");
    const isSuccess = exchange.isStatusSuccess ? this.isSuccess() : false;
    if (isSuccess === undefined) return [this.lost(end)];
    if (!isSuccess) return [this.failure()];
    if (expanded === undefined) return [this.success(isParsed && exchange.isResponseWhole)];
    return [this.expanded(expanded)];
  }

  /** Three-valued: see Predicate. */
  private isSuccess(): boolean | undefined {
    const all: Predicate = { all: this.exchange.found.route.success };
    return holds(all, this.exchange);
  }

  private success(isWhole: boolean): ConnectorReading | FreeReading | UnmeasuredReading {
    const { exchange } = this;
    const { route, definition } = exchange.found;
    runMeters(route.meters, exchange, this.counts, { state: definition.state, account: exchange.account });
    if (!isWhole && this.context.isEstimateAllowed) runFallback(route.fallback, exchange, this.counts);
    this.callHook((hook, context) => hook.onSuccess?.(context));
    return this.reading(isWhole ? "complete" : "partial");
  }

  /** One reading for all: what the inner exchanges came to, beside the route's own meters. */
  private expanded(expanded: Expanded): Reading {
    const { parts, isWhole } = takeUp(expanded, this.counts, this.dims);
    const reading = this.success(isWhole);
    return reading.kind === "measured" && parts.length > 0 ? { ...reading, parts } : reading;
  }

  private openInner(): OpenInner {
    return openInnerOf(this.exchange, (exchange) => new ExchangeReader(exchange, this.context));
  }

  private failure(): Reading {
    this.hasFailed = true;
    this.callHook((hook, context) => hook.onFailure?.(context));
    return { kind: "free", reason: this.exchange.isStatusSuccess ? "not_successful" : "error_status", route: this.exchange.found.name, ...this.readDims() };
  }

  /** The answer that would tell did not come. */
  private lost(end: ReadEnd): Reading {
    const { exchange } = this;
    const route = exchange.found.name;
    const attempted = attemptedWrites(exchange, this.openInner());
    if (attempted > 0) {
      return { kind: "measured", completeness: "unknown", source: "none", route, connectorUsage: { [ATTEMPTED_CATEGORY]: attempted }, ...this.readDims() };
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
    if (record !== undefined) this.callHook((hook, context) => hook.onRecord?.(context, record));
  }

  /** Of a stream of records. */
  get deltas(): DeltaSource | undefined {
    return this.records === undefined ? undefined : this.source;
  }

  private takeDelta(): readonly Reading[] {
    return this.hasNothing ? [] : [this.reading("complete")];
  }

  private get hasNothing(): boolean {
    return this.counts.isEmpty && !this.hasHookFault;
  }

  private endRecords(end: ReadEnd): readonly Reading[] {
    this.records?.end();
    // A stream that brought nothing costs nothing, however it ended.
    return this.hasNothing ? [this.nothing()] : [this.reading(end.kind === "complete" ? "complete" : "partial")];
  }

  /** Beside other counts only: a line that was cut is nothing to be told of by itself. */
  private countBadLines(): void {
    const badLines = this.records?.badLines ?? 0;
    if (this.counts.isEmpty) return;
    this.counts.add(BAD_LINES_CATEGORY, badLines - this.toldBadLines);
    this.toldBadLines = badLines;
  }

  private nothing(): FreeReading {
    return { kind: "free", reason: "nothing_billable", route: this.exchange.found.name, ...this.readDims() };
  }

  private reading(completeness: "complete" | "partial"): ConnectorReading | FreeReading | UnmeasuredReading {
    const route = this.exchange.found.name;
    if (this.hasHookFault && this.records === undefined) return { kind: "unmeasured", reason: "hook_fault", route };
    if (this.hasNothing && completeness === "complete") return this.nothing();
    this.countBadLines();
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

  private callHook(call: (hook: Hook, context: HookContext) => void): void {
    const { hook } = this.exchange.found.route;
    if (hook === undefined) return;
    this.hookContext ??= createHookContext(this.exchange, this.counts, this.dims, () => this.hasFailed);
    try {
      call(hook, this.hookContext);
    } catch (error) {
      this.hasHookFault = true;
      this.context.onFault?.(error);
    }
  }
}

/** Whether anything looks at the body of an answer that failed. */
function readsFailures(dims: Readonly<Record<string, object>> | undefined, hook: Hook | undefined): boolean {
  return hook?.onFailure !== undefined || Object.values(dims ?? {}).some((dim) => "path" in dim || "is" in dim);
}
