/**
 * Turns host names into addresses through the system's resolver, bounded: one lookup at a time for a name, so many
 * at once, so many waiting. Keeps no answer: a name that changes its address is judged anew on each connection. Which
 * of the addresses may be dialled is address-policy.ts's.
 */

import { ADDRCONFIG, lookup as dnsLookup, type LookupAddress } from "node:dns";

import { ProxyError } from "./proxy-error.ts";

/**
 * Lookups that run at once. Each holds a thread of libuv's pool for as long as the system's resolver takes, and libuv
 * gives lookups half of its threads: with its default of 4 two run, the rest of these wait there
 * (https://nodejs.org/docs/latest-v24.x/api/cli.html#uv_threadpool_sizesize).
 */
export const MAX_RUNNING_LOOKUPS = 64;

/** Names that wait for one of those; beyond them a name is upstream_dns at once. */
export const MAX_WAITING_NAMES = 1024;

/** With an error there are no addresses. */
export type ResolveCallback = (error: Error | null, addresses: readonly LookupAddress[]) => void;

/** Asks the system once. Calls back once, never before it has returned. */
export type Lookup = (name: string, callback: ResolveCallback) => void;

export interface NameResolver {
  /**
   * All addresses of a name, in the order in which they should be tried. Callers of a name whose lookup has not ended
   * share it; they are as many as there are connections under way. Never calls back before it has returned. The error
   * is the resolver's own, or ProxyError upstream_dns when too many names wait.
   *
   * The returned function gives up: its callback is not called afterwards. A lookup that nobody waits for any more
   * leaves the queue; one that runs cannot be stopped, keeps its place until the system answers, and is then dropped.
   */
  resolve(name: string, callback: ResolveCallback): () => void;
  /** Lookups that run now; at most MAX_RUNNING_LOOKUPS. */
  readonly running: number;
  /** Names that wait for a place; at most MAX_WAITING_NAMES. */
  readonly waiting: number;
}

/** Everyone who waits for one name. Identity matters, not the function: one may be given twice. */
type Callers = Set<{ readonly callback: ResolveCallback }>;

/** `lookup` is the system's unless a test brings its own. */
export function createNameResolver(lookup: Lookup = systemLookup): NameResolver {
  const running = new Map<string, Callers>();
  const waiting = new Map<string, Callers>();

  const start = (name: string, callers: Callers): void => {
    running.set(name, callers);
    lookup(name, (error, addresses) => {
      running.delete(name);
      startNext();
      // A callback may make another one give up: what has left the set by its turn is not called.
      for (const caller of callers) caller.callback(error, addresses);
    });
  };

  const startNext = (): void => {
    const next = waiting.entries().next();
    if (next.done === true) return;
    const [name, callers] = next.value;
    waiting.delete(name);
    start(name, callers);
  };

  /** The callers to join; undefined when there is no room. */
  const callersOf = (name: string): Callers | undefined => {
    const known = running.get(name) ?? waiting.get(name);
    if (known !== undefined) return known;
    const callers: Callers = new Set();
    if (running.size < MAX_RUNNING_LOOKUPS) start(name, callers);
    else if (waiting.size < MAX_WAITING_NAMES) waiting.set(name, callers);
    else return undefined;
    return callers;
  };

  return {
    resolve(name, callback) {
      const caller = { callback };
      const callers = callersOf(name) ?? refused(caller);
      callers.add(caller);
      return () => {
        callers.delete(caller);
        if (callers.size === 0 && waiting.get(name) === callers) waiting.delete(name);
      };
    },
    get running() {
      return running.size;
    },
    get waiting() {
      return waiting.size;
    },
  };
}

/** A set of its own for a caller that finds no room: told so in the next microtask, unless it has given up by then. */
function refused(caller: { readonly callback: ResolveCallback }): Callers {
  const callers: Callers = new Set();
  queueMicrotask(() => {
    if (callers.has(caller)) caller.callback(new ProxyError("upstream_dns", "too many names wait to be resolved: the name service answers too slowly"), []);
  });
  return callers;
}

/** What net.connect would ask: every address, of the families that this machine has. */
function systemLookup(name: string, callback: ResolveCallback): void {
  dnsLookup(name, { all: true, hints: ADDRCONFIG }, (error, addresses) => callback(error, error === null ? addresses : []));
}
