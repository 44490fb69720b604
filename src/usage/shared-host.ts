/** Hosts with several APIs on them (www.googleapis.com): each exchange goes to the handler whose path it is. */

import type { FlowHead } from "../flow/flow.ts";
import type { Handler } from "./handler.ts";

/**
 * One entry in the table of hosts for several handlers. It stands for the first of them; `ownerOf` finds the one that an
 * exchange is for.
 */
export function shareHost(handlers: readonly [Handler, ...Handler[]]): Handler {
  const [first, ...others] = handlers;
  if (others.length === 0 || first.ownsPath === undefined) return first;
  return {
    ...first,
    sharers: handlers,
    open: (exchange, context) => (ownerAt(handlers, exchange.host, exchange.port, exchange.path) ?? first).open(exchange, context),
  };
}

/** The handler of an exchange: of those that share its host the first that has its path, else the first. */
export function ownerOf(handler: Handler, { host, port, target }: Pick<FlowHead, "host" | "port" | "target">): Handler {
  if (handler.sharers === undefined) return handler;
  const question = target.indexOf("?");
  return ownerAt(handler.sharers, host, port, question === -1 ? target : target.slice(0, question)) ?? handler;
}

function ownerAt(handlers: readonly Handler[], host: string, port: number, path: string): Handler | undefined {
  return handlers.find((handler) => handler.ownsPath?.(host, port, path) ?? true);
}
