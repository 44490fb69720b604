/** Which host is whose: the handlers, their table by host, and the hosts whose TLS is terminated. */

import { nearest } from "../config/nearest.ts";
import type { Settings } from "../config/settings.ts";
import { createHostTable, type HostTable } from "../flow/route.ts";
import { createRecognition, shareHost, type Handler, type HandlerOptions, type Recognition } from "../usage/index.ts";
import { StartError } from "./start-error.ts";

/** What the operator chose of single handlers. */
export function handlerOptions({ gmailQuotaTable, xOwnerUserId, xUrlRule, xIncludes, xDeduplicate }: Settings): HandlerOptions {
  return {
    gmail: { quotaTable: gmailQuotaTable },
    x: { ownerUserId: xOwnerUserId, urlRule: xUrlRule, includes: xIncludes, isDeduplicating: xDeduplicate },
  };
}

/** Which hosts have their TLS terminated. */
export function interception(settings: Settings, hosts: HostTable<Handler>): (host: string, port: number) => boolean {
  const further = createHostTable(settings.interceptHosts.map((rule) => [pattern(rule), true] as const));
  const passed = createHostTable(settings.passthroughHosts.map((rule) => [pattern(rule), true] as const));
  return (host, port) => {
    if (passed.lookup(host, port) === true) return false;
    if (settings.intercept === "all" || further.lookup(host, port) === true) return true;
    return settings.intercept === "metered" && hosts.lookup(host, port) !== undefined;
  };
}

/** Under TALLYMAN_INTERCEPT=all: whose protocol a host speaks that is nobody's. Else such hosts pass unwatched. */
export function recognition(handlers: readonly Handler[], settings: Settings): Recognition | undefined {
  return settings.intercept === "all" ? createRecognition(handlers) : undefined;
}

/**
 * The handlers by host: what the operator bound goes before the handlers' own hosts, and of those the embedder's come first.
 * Handlers of one host share it where the first wants only some of its paths.
 * A host that a handler excepts is nobody's.
 */
export function hostTable(handlers: readonly Handler[], settings: Settings): HostTable<Handler> {
  const byId = new Map(handlers.toReversed().map((handler) => [handler.id, handler]));
  checkMeters([...byId.keys()], settings);
  const bound = settings.interceptHosts.flatMap((rule): [string, Handler][] => {
    const handler = byId.get(rule.meter ?? "");
    return handler === undefined ? [] : [[pattern(rule), handler]];
  });
  const own = [...byPattern(handlers)].map(([host, owners]): [string, Handler] => [host, shareHost(owners)]);
  const excepted = handlers.flatMap(({ exceptHosts = [] }) => exceptHosts.map((host): [string, typeof NOBODY] => [host, NOBODY]));
  // Of equal patterns the first wins.
  const table = createHostTable<Handler | typeof NOBODY>([...bound, ...own, ...excepted]);
  return {
    lookup(host, port) {
      const owner = table.lookup(host, port);
      return owner === NOBODY ? undefined : owner;
    },
  };
}

/** The handlers of each pattern, in their order. */
function byPattern(handlers: readonly Handler[]): ReadonlyMap<string, readonly [Handler, ...Handler[]]> {
  const owners = new Map<string, readonly [Handler, ...Handler[]]>();
  for (const handler of handlers) {
    for (const host of new Set(handler.hosts.map((each) => each.toLowerCase()))) {
      const before = owners.get(host);
      owners.set(host, before === undefined ? [handler] : [...before, handler]);
    }
  }
  return owners;
}

/** Throws a StartError that lists every meter that a setting names and that does not exist: a misspelt one would bind, or bill, nothing. */
function checkMeters(known: readonly string[], { interceptHosts, billable }: Settings): void {
  const bindings = interceptHosts.map(({ host, meter }) => ({ meter, does: `TALLYMAN_INTERCEPT_HOSTS binds ${host} to` }));
  const bills = typeof billable === "string" ? [] : billable.map(({ meter }) => ({ meter, does: "TALLYMAN_BILLABLE names" }));
  const faults = [...bindings, ...bills].flatMap(({ meter, does }) =>
    meter === undefined || known.includes(meter) ? [] : [`${does} the meter ${meter}, which does not exist; the nearest is ${nearest(meter, known)}.`],
  );
  if (faults.length > 0) throw new StartError("unknown_meter", faults.join("\n"), { isWrongSetting: true });
}

/** Stands where a wildcard would find a handler that does not want the host. */
const NOBODY = Symbol("nobody's host");

function pattern(rule: { readonly host: string; readonly port: number | undefined }): string {
  if (rule.port === undefined) return rule.host;
  return rule.host.includes(":") ? `[${rule.host}]:${rule.port}` : `${rule.host}:${rule.port}`;
}
