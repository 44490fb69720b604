/** Slack's own clients, pointed at the proxy and made to trust its CA; nothing else of them is changed. */

import { readFileSync } from "node:fs";
import { LogLevel, SocketModeClient } from "@slack/socket-mode";
import { WebClient } from "@slack/web-api";
import { fetch as undiciFetch, FormData as UndiciFormData, ProxyAgent } from "undici";

import type { Program } from "./program.ts";

export const BOT_TOKEN = "xoxb-1111-2222-bot-token-of-no-value";
export const APP_TOKEN = "xapp-1-A1-app-token-of-no-value";

/** What a client sent and was answered, as it saw it. */
export interface SeenCall {
  readonly url: string;
  /** Undefined for a body that the client builds while it is sent. */
  readonly sent: string | undefined;
  readonly received: Buffer;
}

export interface SlackClients {
  readonly web: WebClient;
  readonly socket: SocketModeClient;
  /** Any other call through the proxy. */
  readonly fetch: typeof fetch;
  /** What `web` did, in order. */
  readonly seen: readonly SeenCall[];
  close(): Promise<void>;
}

export function slackClients(program: Pick<Program, "proxyUrl" | "caFile">): SlackClients {
  const agent = new ProxyAgent({ uri: program.proxyUrl, requestTls: { ca: readFileSync(program.caFile, "utf8") } });
  const seen: SeenCall[] = [];
  const fetch = (input: string | URL | Request, init?: RequestInit): Promise<Response> => Reflect.apply(undiciFetch, undefined, [input, { ...init, body: bodyOf(init), dispatcher: agent }]);
  const recordingFetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const response = await fetch(input, init);
    const received = Buffer.from(await response.clone().arrayBuffer());
    seen.push({ url: String(input), sent: typeof init?.body === "string" ? init.body : undefined, received });
    return response;
  };
  const logLevel = LogLevel.ERROR;
  return {
    web: new WebClient(BOT_TOKEN, { fetch: recordingFetch, logLevel, retryConfig: { retries: 0 }, rejectRateLimitedCalls: true }),
    socket: new SocketModeClient({ appToken: APP_TOKEN, dispatcher: agent, logLevel, autoReconnectEnabled: false }),
    fetch,
    seen,
    close: () => agent.destroy(),
  };
}

/** The undici that the agent is of does not know the FormData that is in Node. */
function bodyOf(init: RequestInit | undefined): unknown {
  if (!(init?.body instanceof FormData)) return init?.body;
  const form = new UndiciFormData();
  for (const [name, value] of init.body) {
    if (typeof value === "string") form.append(name, value);
    else form.append(name, value, value.name);
  }
  return form;
}
