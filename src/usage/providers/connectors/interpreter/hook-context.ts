/** What a hook is shown of an exchange, and what it may do. Valid during the hook's call. */

import type { HookContext } from "../definition.ts";
import type { Counts } from "./counts.ts";
import { setDim } from "./dims.ts";
import type { Exchange } from "./exchange.ts";
import { isCategory } from "./names.ts";

/** `isDropped`: what is emitted counts nothing (the exchange failed). */
export function createHookContext(exchange: Exchange, counts: Counts, dims: Map<string, string>, isDropped: () => boolean): HookContext {
  const { found, info } = exchange;
  return {
    routeId: found.route.id,
    params: found.params,
    query: found.query,
    method: info.method,
    host: info.host,
    path: info.path,
    get status() {
      return exchange.status;
    },
    get account() {
      return exchange.account;
    },
    requestHeader: (lowerName) => exchange.requestHeader(lowerName),
    responseHeader: (lowerName) => exchange.responseHeader(lowerName),
    requestBody: () => exchange.requestKeeper.body(),
    probe: (path) => exchange.response.first(path),
    probeLength: (path) => exchange.response.length(path),
    emit(category, count, options) {
      if (!isDropped() && isCategory(category)) counts.add(category, count, options?.isEstimated === true);
    },
    setDim: (name, value) => setDim(dims, name, value),
    state: found.definition.state,
  };
}
