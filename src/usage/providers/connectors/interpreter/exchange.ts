/** One exchange as meters, predicates and hooks see it. Holds what is known; decides nothing. */

import type { ResponseHead } from "../../../../flow/flow.ts";
import { getHeader } from "../../../../flow/headers.ts";
import type { ExchangeInfo } from "../../../handler.ts";
import { accountOf } from "./account.ts";
import type { CompiledDefinition, CompiledRoute } from "./compiled.ts";
import type { Evidence } from "./evidence.ts";
import { Probes } from "./probes.ts";
import type { OnId } from "./probes.ts";
import { RequestKeeper } from "./request-body.ts";

/** A route that was found for an exchange. */
export interface FoundRoute {
  readonly definition: CompiledDefinition;
  readonly route: CompiledRoute;
  /** The event's `route`: the route's id, or the name of a path that has none. */
  readonly name: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}

export class Exchange implements Evidence {
  readonly found: FoundRoute;
  readonly info: ExchangeInfo;
  readonly response: Probes;
  readonly requestKeeper: RequestKeeper;
  head: ResponseHead | undefined;
  isResponseWhole = false;
  responseBytes = 0;
  text: string | undefined;
  /** Told of the ids of counted things, where the connector tells things apart. */
  onId: OnId | undefined;
  #account: string | undefined;

  constructor(found: FoundRoute, info: ExchangeInfo) {
    const { route } = found;
    this.found = found;
    this.info = info;
    const isTold = found.definition.seenIds !== undefined;
    this.response = new Probes(route.plan, isTold ? (source, key, id) => this.onId?.(source, key, id) : undefined);
    this.requestKeeper = new RequestKeeper(route.route.request, getHeader(info.headers, "content-type"), route.requestPlan);
  }

  /** 0 before the response. */
  get status(): number {
    return this.head?.status ?? 0;
  }

  get isStatusSuccess(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  get params(): Readonly<Record<string, string>> {
    return this.found.params;
  }

  get query(): URLSearchParams {
    return this.found.query;
  }

  get requestBytes(): number {
    return this.requestKeeper.bytes;
  }

  get account(): string {
    this.#account ??= accountOf(this.info.headers, this.query);
    return this.#account;
  }

  requestHeader(lowerName: string): string | undefined {
    return getHeader(this.info.headers, lowerName);
  }

  responseHeader(lowerName: string): string | undefined {
    return this.head === undefined ? undefined : getHeader(this.head.headers, lowerName);
  }

  request(): Probes | undefined {
    return this.requestKeeper.probes();
  }

  /** Whether a lost answer may hide an effect. */
  get isWrite(): boolean {
    const { effect } = this.found.route;
    return effect === "by_method" ? !READ_METHODS.has(this.info.method) : effect === "write";
  }
}

const READ_METHODS = new Set(["GET", "HEAD", "OPTIONS"]);
