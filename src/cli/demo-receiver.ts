/**
 * The billing API of the demo: a plain HTTP server that checks every post as a stranger would, by the Standard Webhooks
 * text alone (https://www.standardwebhooks.com, version 1): nothing of Tallyman is used to check Tallyman.
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";

const TOLERANCE_S = 300;
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** What the demo needs of a usage event's data. */
export interface ReceivedEvent {
  readonly id: string;
  readonly responseId: string | null;
  readonly meter: string;
  readonly model: string | null;
  readonly usage: Readonly<Record<string, number>>;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly completeness: string;
  /** Decimal USD. */
  readonly cost: string | null;
}

export interface DemoReceiver {
  readonly url: string;
  /** Events of posts whose signature holds, each id once, in order of arrival. */
  readonly events: readonly ReceivedEvent[];
  /** Posts that were refused: a bad signature, an old timestamp, no batch of events. */
  readonly refused: number;
  /** Posts that were accepted. */
  readonly posts: number;
  close(): Promise<void>;
}

/** Listens on a free port of 127.0.0.1. `secret` is `whsec_` and base64. */
export async function startDemoReceiver(secret: string): Promise<DemoReceiver> {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const events = new Map<string, ReceivedEvent>();
  let refused = 0;
  let posts = 0;
  const server = createServer((request, response) => {
    const answer = (status: number): void => void response.writeHead(status).end();
    readBody(request)
      .then((body) => {
        const batch = isSigned(request.headers, body, key) ? readBatch(body) : undefined;
        if (batch === undefined) {
          refused += 1;
          return answer(400);
        }
        posts += 1;
        for (const event of batch) if (!events.has(event.id)) events.set(event.id, event);
        return answer(204);
      })
      .catch(() => response.destroy()); // The sender broke off: it will post again.
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the receiver has no port");
  return {
    url: `http://127.0.0.1:${address.port}/usage`,
    get events() {
      return [...events.values()];
    },
    get refused() {
      return refused;
    },
    get posts() {
      return posts;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new RangeError("the post is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** HMAC-SHA256 over `id.timestamp.body`, compared in constant time with each `v1,` signature of the header. */
function isSigned(headers: IncomingMessage["headers"], body: Buffer, key: Buffer): boolean {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures } = headers;
  if (typeof id !== "string" || typeof timestamp !== "string" || typeof signatures !== "string") return false;
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_S)) return false;
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
  return signatures.split(" ").some((signature) => {
    const [version, encoded = ""] = signature.split(",", 2);
    const given = Buffer.from(encoded, "base64");
    return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

/** The events of a batch of CloudEvents; `undefined` when it is none. */
function readBatch(body: Buffer): readonly ReceivedEvent[] | undefined {
  try {
    const batch: unknown = JSON.parse(body.toString("utf8"));
    return Array.isArray(batch) ? batch.map(readEvent) : undefined;
  } catch {
    return undefined; // Not JSON, or an event without an id: refused.
  }
}

function readEvent(event: unknown): ReceivedEvent {
  const { id, data } = fieldsOf(event);
  if (typeof id !== "string") throw new TypeError("an event has no id");
  const fields = fieldsOf(data);
  const totals = fieldsOf(fields["totals"]);
  const cost = fieldsOf(fields["cost"])["amount"];
  return {
    id,
    responseId: textOf(fields["response_id"]),
    meter: textOf(fields["meter"]) ?? "",
    model: textOf(fields["response_model"]) ?? textOf(fields["request_model"]),
    usage: Object.fromEntries(Object.entries(fieldsOf(fields["usage"])).map(([name, count]) => [name, Number(count)])),
    inputTokens: Number(totals["input_tokens"] ?? 0),
    outputTokens: Number(totals["output_tokens"] ?? 0),
    completeness: textOf(fields["completeness"]) ?? "",
    cost: textOf(cost),
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
