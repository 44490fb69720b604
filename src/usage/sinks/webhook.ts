/** The default sink: a POST of the frozen events as a JSON array, signed as Standard Webhooks has it. */

import type { Sink, SinkLimits } from "../delivery/sink.ts";
import { createPoster } from "./http-post.ts";
import type { PosterOptions } from "./http-post.ts";
import { judge } from "./http-verdict.ts";
import { signatureHeader, signingKey } from "./signature.ts";

export interface WebhookOptions extends Omit<PosterOptions, "concurrency"> {
  /** "whsec_" and base64, newest first; each signs. None: posts are not signed. */
  readonly secrets: readonly string[];
  readonly limits: SinkLimits;
  /** Epoch milliseconds, for the signature and for a Retry-After that names a date. */
  readonly clock?: () => number;
}

const CONTENT_TYPE = "application/cloudevents-batch+json";

/** The headers of the options cannot replace the content type or the webhook's own. Redirects are not followed. */
export function createWebhook(options: WebhookOptions): Sink {
  const { limits, clock = Date.now } = options;
  const poster = createPoster({ ...options, concurrency: limits.concurrency });
  const keys = options.secrets.map(signingKey);

  const headersFor = (id: string, body: Uint8Array): Record<string, string> => {
    const timestampSeconds = Math.floor(clock() / 1000);
    const headers: Record<string, string> = { "content-type": CONTENT_TYPE, "webhook-id": id, "webhook-timestamp": String(timestampSeconds) };
    if (keys.length > 0) headers["webhook-signature"] = signatureHeader(keys, id, timestampSeconds, body);
    return headers;
  };

  return {
    id: "webhook",
    limits,
    async send({ id, events }, signal) {
      const body = Buffer.from(`[${events.map((event) => event.body).join(",")}]`);
      return judge(await poster.post(body, headersFor(id, body), signal), clock());
    },
    close: () => poster.close(),
  };
}
