/** Which threads a batch has events of: batches that share one are sent one after the other. */

import type { SinkEvent } from "./sink.ts";

/** The first `"thread_id":` of an event is `data.thread_id` (event-types.ts): in a string that quote would be escaped. */
const THREAD_ID = /"thread_id":("(?:[^"\\]|\\.)*")/;

/** The thread ids in the events, as their JSON texts; events without one have no order to keep. */
export function threadsOf(events: readonly SinkEvent[]): ReadonlySet<string> {
  const threads = new Set<string>();
  for (const { body } of events) {
    const thread = THREAD_ID.exec(body)?.[1];
    if (thread !== undefined) threads.add(thread);
  }
  return threads;
}
