/** Gives back the memory that starting left behind. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Loading the program leaves about as much garbage as it keeps, and V8 holds on to it while nothing happens. One full
 * collection, before the first client, returns it to the system (idle memory: docs/performance.md).
 * Does nothing where V8 does not offer it.
 */
export function releaseStartupMemory(): void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("globalThis.gc");
  if (typeof collect === "function") Reflect.apply(collect, undefined, [{ type: "major", execution: "sync", flavor: "last-resort" }]);
}
