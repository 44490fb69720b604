/**
 * The X (Twitter) API: what is read is counted per object returned, what is written per request, as X bills it. The
 * routes are in x-routes.ts, the rest in x/. Source: reference/connectors.md section 2.
 */

import type { Handler } from "../../handler.ts";
import { compileConnectors } from "./interpreter/compile-connectors.ts";
import { defineX } from "./x/definition.ts";
import type { XOptions } from "./x/options.ts";

export type { XOptions } from "./x/options.ts";

/** `now`: epoch milliseconds. */
export function createX(options: XOptions = {}, now: () => number = Date.now): Handler {
  return compileConnectors([defineX(options)], { isDeduplicating: options.isDeduplicating === true, now });
}
