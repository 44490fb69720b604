/**
 * OpenMeter takes the frozen CloudEvents as they are (https://openmeter.io/docs/metering/events/overview, read 2026-11) and
 * keeps `source` and `id` unique where de-duplication is on.
 */

import type { Sink, SinkLimits } from "../delivery/sink.ts";
import { createPoster } from "./http-post.ts";
import type { PosterOptions } from "./http-post.ts";
import { judge } from "./http-verdict.ts";

export interface OpenMeterOptions extends Omit<PosterOptions, "concurrency" | "headers"> {
  /** Absent: no Authorization header (a self-hosted OpenMeter). */
  readonly token: string | undefined;
  readonly clock?: () => number;
}

const LIMITS: SinkLimits = { maxEvents: 100, maxBytes: 256 * 1024, maxWaitMs: 1000, concurrency: 4 };

const HEADERS = { "content-type": "application/cloudevents-batch+json" } as const;

/** Posts to `/api/v1/events` below the URL. */
export function createOpenMeter(options: OpenMeterOptions): Sink {
  const { token, clock = Date.now } = options;
  const poster = createPoster({
    ...options,
    url: `${options.url.replace(/\/+$/, "")}/api/v1/events`,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    concurrency: LIMITS.concurrency,
  });
  return {
    id: "openmeter",
    limits: LIMITS,
    send: async ({ events }, signal) => judge(await poster.post(`[${events.map(({ body }) => body).join(",")}]`, HEADERS, signal), clock()),
    close: () => poster.close(),
  };
}
