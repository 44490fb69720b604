/** The official SDKs, pointed at the proxy and made to trust its CA; nothing else of them is changed. */

import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { fetch as undiciFetch, ProxyAgent } from "undici";

import type { Program } from "./program.ts";

export const API_KEY = "sk-test-of-no-value";

export interface SdkClients {
  readonly anthropic: Anthropic;
  readonly openai: OpenAI;
  close(): Promise<void>;
}

/** `proxyUser`: `user:secret` of the proxy credentials. */
export function sdkClients(program: Pick<Program, "proxyUrl" | "caFile">, proxyUser?: string): SdkClients {
  const agent = new ProxyAgent({
    uri: program.proxyUrl,
    requestTls: { ca: readFileSync(program.caFile, "utf8") },
    ...(proxyUser === undefined ? {} : { token: `Basic ${Buffer.from(proxyUser).toString("base64")}` }),
  });
  // The fetch of the undici that the agent is of: the one in Node is of another version, and the types of the two differ.
  const fetch = (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
    Reflect.apply(undiciFetch, undefined, [input, { ...init, dispatcher: agent }]);
  return {
    anthropic: new Anthropic({ apiKey: API_KEY, maxRetries: 0, fetch }),
    openai: new OpenAI({ apiKey: API_KEY, maxRetries: 0, fetch }),
    close: () => agent.destroy(),
  };
}
