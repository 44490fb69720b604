/**
 * A receiver that remembers all that it ever took, whatever it answered, and misbehaves as it is told: what it took is
 * what a billing system would have committed. Listens on one port for good, also after it was away.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Webhook } from "standardwebhooks";

/**
 * `well`: takes and answers 204. `resets`, `refuses`, `hangs`: takes, then breaks the connection off, answers 500, 503 or
 * 429, or answers nothing. `loses`: breaks off and takes nothing. `away`: does not listen.
 */
export const ORACLE_MOODS = ["well", "resets", "refuses", "hangs", "loses", "away"] as const;
export type OracleMood = (typeof ORACLE_MOODS)[number];

export interface Oracle {
  readonly url: string;
  /** Every event that was taken, by id: its bytes at the first delivery. */
  readonly taken: ReadonlyMap<string, string>;
  /** Of an event's ids, those beyond its first. */
  readonly duplicates: number;
  readonly posts: number;
  /** What must never happen: a bad signature, other bytes under a known id. */
  readonly broken: readonly string[];
  readonly mood: OracleMood;
  setMood(mood: OracleMood): Promise<void>;
  close(): Promise<void>;
}

const REFUSALS = [500, 503, 429, 408] as const;

export async function startOracle(secret: string): Promise<Oracle> {
  const webhook = new Webhook(secret);
  const taken = new Map<string, string>();
  const batches = new Map<string, string>();
  const broken: string[] = [];
  const counts = { duplicates: 0, posts: 0 };
  let mood: OracleMood = "well";
  const take = (request: IncomingMessage, body: string): void => {
    const fault = faultOf(webhook, request, body);
    if (fault !== undefined) broken.push(fault);
    const batch = String(request.headers["webhook-id"]);
    if ((batches.get(batch) ?? body) !== body) broken.push(`batch ${batch} came again with other bytes`);
    batches.set(batch, body);
    for (const { id, bytes } of eventsIn(body)) {
      const known = taken.get(id);
      if (known === undefined) taken.set(id, bytes);
      else counts.duplicates += 1;
      if (known !== undefined && known !== bytes) broken.push(`event ${id} came again with other bytes`);
    }
  };
  const answer = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    counts.posts += 1;
    if (mood !== "loses" && mood !== "away") take(request, body);
    if (mood === "well") response.writeHead(204).end();
    else if (mood === "refuses") response.writeHead(REFUSALS[counts.posts % REFUSALS.length]!, { "retry-after": "1" }).end();
    else if (mood !== "hangs") request.socket.resetAndDestroy();
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("error", () => undefined);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => answer(request, response, Buffer.concat(chunks).toString()));
  });
  const port = await listen(server, 0);
  return {
    url: `http://127.0.0.1:${port}/usage`,
    taken,
    broken,
    get duplicates() {
      return counts.duplicates;
    },
    get posts() {
      return counts.posts;
    },
    get mood() {
      return mood;
    },
    async setMood(next) {
      if (mood === "away" && next !== "away") await listen(server, port);
      if (mood !== "away" && next === "away") await stop(server);
      // Whoever still waits for an answer of the last mood is not kept for ever.
      if (mood === "hangs" && next !== "hangs") server.closeAllConnections();
      mood = next;
    },
    close: () => stop(server),
  };
}

function faultOf(webhook: Webhook, { headers }: IncomingMessage, body: string): string | undefined {
  const plain = Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : [])));
  try {
    webhook.verify(body, plain);
    return undefined;
  } catch (error) {
    return `a post is not signed: ${String(error)}`;
  }
}

function eventsIn(body: string): { readonly id: string; readonly bytes: string }[] {
  const events: unknown = JSON.parse(body);
  // Written without blanks, so that what is compared are the very bytes.
  if (!Array.isArray(events) || JSON.stringify(events) !== body) throw new TypeError("a post is no array of frozen events");
  return events.map((event: unknown) => {
    if (typeof event !== "object" || event === null || !("id" in event) || typeof event.id !== "string") throw new TypeError("an event has no id");
    return { id: event.id, bytes: JSON.stringify(event) };
  });
}

async function listen(server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve();
    });
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the oracle listens on no port");
  return address.port;
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
