/** Opens the exchanges that another one holds: they have routes of the same definition, and its credential. */

import { getHeader } from "../../../../flow/headers.ts";
import type { Reader } from "../../../handler.ts";
import type { InnerRequest } from "./expansion.ts";
import { Exchange } from "./exchange.ts";
import { findInDefinition } from "./find-route.ts";

/** undefined: it costs nothing whatever its answer is. */
export type OpenInner = (request: InnerRequest) => { readonly reader: Reader; readonly isWrite: boolean } | undefined;

/** `read` makes the reader of an exchange that was found. */
export function openInnerOf(outer: Exchange, read: (exchange: Exchange) => Reader): OpenInner {
  const { definition } = outer.found;
  return (request) => {
    const info = { ...outer.info, method: request.method, path: request.path, query: request.query, headers: withCredential(request.headers, outer) };
    const query = new URLSearchParams(request.query);
    const known = request.routeId === undefined ? undefined : definition.routes.get(request.routeId);
    const found = known === undefined ? findInDefinition(definition, info) : { definition, route: known, name: known.id, params: {}, query };
    // An expansion inside an expansion has no end.
    if (found === undefined || found.route.isFree || found.route.route.expand !== undefined) return undefined;
    const exchange = new Exchange(found, info);
    const reader = read(exchange);
    reader.requestData?.(request.body);
    reader.requestEnd?.();
    return { reader, isWrite: exchange.isWrite };
  };
}

function withCredential(headers: readonly string[], outer: Exchange): readonly string[] {
  const authorization = outer.requestHeader("authorization");
  return authorization === undefined || getHeader(headers, "authorization") !== undefined ? headers : [...headers, "authorization", authorization];
}
