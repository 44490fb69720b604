/** An HTTPS server whose answers a test writes by hand, event by event, when it wants. */

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";

import type { SimulatedTls } from "../../src/demo/simulated-tls.ts";
import { until } from "./until.ts";

export interface ScriptedUpstream {
  readonly port: number;
  /** The next request that nobody has taken yet, in order of arrival; waits for it. */
  next(): Promise<{ readonly request: IncomingMessage; readonly response: ServerResponse }>;
  close(): void;
}

/** Listens on a free port of 127.0.0.1. */
export async function startScriptedUpstream(tls: SimulatedTls): Promise<ScriptedUpstream> {
  const waiting: { readonly request: IncomingMessage; readonly response: ServerResponse }[] = [];
  const server = createServer({ key: tls.key, cert: tls.cert, ALPNProtocols: ["http/1.1"] }, (request, response) => {
    waiting.push({ request, response });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the upstream has no port");
  return {
    port: address.port,
    async next() {
      await until(() => waiting.length > 0, "a request at the scripted upstream");
      return waiting.shift()!;
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** A message of twelve tokens in and seven out, as Anthropic streams it (reference/model-usage.md section 5.1.3). */
export function messageEvents(id: string): readonly string[] {
  const usage = { input_tokens: 12, output_tokens: 1, service_tier: "standard" };
  const message = { id, type: "message", role: "assistant", model: "claude-opus-5-5", content: [], stop_reason: null, usage };
  return [
    { type: "message_start", message },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "It costs what it uses." } },
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 7 } },
    { type: "message_stop" },
  ].map((data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`);
}
