/** Plain API calls through the proxy, for tests that need many of them, or one whose middle they can watch. */

import { readFileSync } from "node:fs";
import { ProxyAgent, request } from "undici";

import type { Program } from "./program.ts";

/** A call: where to, what, and under which names the answer tells its counts. */
export interface Call {
  readonly url: string;
  readonly body: object;
  readonly counts: readonly [input: string, output: string];
}

const MESSAGES = [{ role: "user", content: "What does an agent cost, and when?" }];
const CLAUDE = { model: "claude-haiku-4-5", max_tokens: 64, messages: MESSAGES };
const CHAT = { model: "gpt-5.4", messages: MESSAGES };
const ANTHROPIC = { url: "https://api.anthropic.com/v1/messages", counts: ["input_tokens", "output_tokens"] } as const;
const OPENAI = { url: "https://api.openai.com/v1/chat/completions", counts: ["prompt_tokens", "completion_tokens"] } as const;

/** One of each kind that the simulated providers answer. */
export const CALLS = {
  message: { ...ANTHROPIC, body: CLAUDE },
  messageStream: { ...ANTHROPIC, body: { ...CLAUDE, stream: true } },
  chat: { ...OPENAI, body: CHAT },
  chatStream: { ...OPENAI, body: { ...CHAT, stream: true, stream_options: { include_usage: true } } },
} as const satisfies Record<string, Call>;

/** A header of calls with a thread that the provider sees. */
export const THREAD_HEADER = "x-thread";

export interface CallOptions {
  /** How the simulated provider behaves (simulated-behaviour.ts). */
  readonly simulate?: string;
  /** Its thread id. */
  readonly thread?: string;
  /** Told of each piece of the answer as it comes, with all that came so far. */
  readonly onText?: (text: string) => void;
}

/** An answer that ended as an answer should. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** What the client was told; NaN where it was not. */
  readonly input: number;
  readonly output: number;
}

export interface ApiClient {
  /** Rejects when the answer broke off. */
  call(call: Call, options?: CallOptions): Promise<Answer>;
  close(): Promise<void>;
}

export function apiClient({ proxyUrl, caFile }: Pick<Program, "proxyUrl" | "caFile">): ApiClient {
  const agent = new ProxyAgent({ uri: proxyUrl, requestTls: { ca: readFileSync(caFile, "utf8") } });
  return {
    async call({ url, body, counts }, { simulate = "", thread, onText } = {}) {
      const headers = {
        "content-type": "application/json",
        "x-api-key": "k",
        authorization: "Bearer k",
        "x-simulate": simulate,
        // The first goes no further than the proxy; by the second the provider's recordings are told apart.
        ...(thread === undefined ? {} : { "x-tallyman-thread-id": thread, [THREAD_HEADER]: thread }),
      };
      const response = await request(url, { method: "POST", dispatcher: agent, headers, body: JSON.stringify(body) });
      let text = "";
      for await (const chunk of response.body.setEncoding("utf8")) {
        text += String(chunk);
        onText?.(text);
      }
      return { status: response.statusCode, headers: response.headers, text, input: lastCount(text, counts[0]), output: lastCount(text, counts[1]) };
    },
    close: () => agent.destroy(),
  };
}

/** The last number of a member in a text of JSON documents. */
function lastCount(text: string, name: string): number {
  return Number([...text.matchAll(new RegExp(`"${name}":(\\d+)`, "g"))].at(-1)?.[1]);
}
