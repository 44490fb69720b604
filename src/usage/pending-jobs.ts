/**
 * Responses that were started by one exchange and finish in view of another (background mode): each is counted once.
 * Kept in the store, so that a restart forgets none; bounded by number and age.
 */

import type { Store } from "../store/store.ts";
import type { PendingJobs } from "./handler.ts";

const MAX_JOBS = 10_000;
/** Providers keep such responses for 30 days (model-usage.md section 5.3.4). */
const MAX_AGE_MS = 30 * 24 * 3_600_000;
const MAX_ID_CHARS = 256;

/** `scope` separates handlers and credentials: an id means nothing outside of its own. Asked only when there is an id. */
export function createPendingJobs(store: Pick<Store, "pendingJobs" | "saveJob" | "removeJob">, now: () => number): (scope: () => string) => PendingJobs {
  const makeRoom = (): void => {
    const oldestAllowed = now() - MAX_AGE_MS;
    for (const [key, startedAtMs] of store.pendingJobs) {
      if (store.pendingJobs.size < MAX_JOBS && startedAtMs >= oldestAllowed) return;
      store.removeJob(key);
    }
  };
  return (scope) => ({
    start(responseId) {
      if (responseId === "" || responseId.length > MAX_ID_CHARS) return;
      makeRoom();
      store.saveJob(`${scope()}|${responseId}`, now());
    },
    finish(responseId) {
      const key = `${scope()}|${responseId}`;
      if (!store.pendingJobs.has(key)) return false;
      store.removeJob(key);
      return true;
    },
    claim(id) {
      if (id === "" || id.length > MAX_ID_CHARS) return false;
      const key = `${scope()}|claimed|${id}`;
      if (store.pendingJobs.has(key)) return false;
      makeRoom();
      store.saveJob(key, now());
      return true;
    },
  });
}
