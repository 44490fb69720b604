/**
 * The agent of the demo, a process of its own: it knows nothing of Tallyman and finds it by its environment alone
 * (HTTPS_PROXY, NODE_USE_ENV_PROXY, NODE_EXTRA_CA_CERTS). Calls api.anthropic.com and api.openai.com with the official
 * SDKs, or with fetch where they are not installed, and prints a CallReport for each call.
 */

import type AnthropicClient from "@anthropic-ai/sdk";
import type OpenAiClient from "openai";
import { formatCallReport } from "./demo-call.ts";
import type { CallReport } from "./demo-call.ts";

const SYSTEM = `You are the agent of a demonstration. ${"Follow the house rules. ".repeat(200)}`;
const QUESTION = "What does an agent cost?";
const MAX_TOKENS = 1024;

const MESSAGES = [{ role: "user", content: QUESTION }] as const;
const CACHED_SYSTEM = [{ type: "text", text: SYSTEM, cache_control: { type: "ephemeral" } }] as const;

const CLAUDE = { model: "claude-opus-5-5", max_tokens: MAX_TOKENS, system: [...CACHED_SYSTEM], messages: [...MESSAGES] };
const CLAUDE_THINKING = { ...CLAUDE, thinking: { type: "adaptive" as const } };
const COUNT = { model: "claude-opus-5-5", messages: [...MESSAGES] };
const CHAT = { model: "gpt-5.4", messages: [{ role: "system" as const, content: SYSTEM }, ...MESSAGES] };
const CHAT_STREAM = { ...CHAT, stream: true as const, stream_options: { include_usage: true } };
const RESPONSE = { model: "gpt-6-sol", instructions: SYSTEM, input: QUESTION, reasoning: { effort: "low" as const }, stream: true as const };

/** A call: what it is, and how each kind of client makes it. Gives every JSON document of the answer. */
interface Call {
  readonly call: string;
  readonly model: string;
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly isFree?: boolean;
}

interface Provider<Client> {
  readonly origin: string;
  readonly packageName: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly calls: readonly (Call & { readonly bySdk: (client: Client) => Promise<readonly unknown[]> })[];
  connect(): Promise<Client>;
}

const KEY = "demo-key-of-no-value";

/** A longer answer than the simulators' usual one, at a pace. */
const PACED = { headers: { "x-simulate": "events=40,delay=5" } } as const;

const ANTHROPIC: Provider<AnthropicClient> = {
  origin: "https://api.anthropic.com",
  packageName: "@anthropic-ai/sdk",
  headers: { "x-api-key": KEY, "anthropic-version": "2023-06-01" },
  connect: async () => new (await import("@anthropic-ai/sdk")).default({ apiKey: KEY, maxRetries: 0 }),
  calls: [
    {
      call: "messages, whole, writes a cache",
      model: "claude-opus-5-5",
      path: "/v1/messages",
      body: CLAUDE,
      bySdk: async (client) => [await client.messages.create(CLAUDE, PACED)],
    },
    {
      call: "messages, streamed, reads it, thinks",
      model: "claude-opus-5-5",
      path: "/v1/messages",
      body: { ...CLAUDE_THINKING, stream: true },
      bySdk: async (client) => [await client.messages.stream(CLAUDE_THINKING, PACED).finalMessage()],
    },
    {
      call: "count_tokens, costs nothing",
      model: "claude-opus-5-5",
      path: "/v1/messages/count_tokens",
      body: COUNT,
      isFree: true,
      bySdk: async (client) => [await client.messages.countTokens(COUNT)],
    },
  ],
};

const OPENAI: Provider<OpenAiClient> = {
  origin: "https://api.openai.com",
  packageName: "openai",
  headers: { authorization: `Bearer ${KEY}` },
  connect: async () => new (await import("openai")).default({ apiKey: KEY, maxRetries: 0 }),
  calls: [
    {
      call: "chat completions, whole",
      model: "gpt-5.4",
      path: "/v1/chat/completions",
      body: CHAT,
      bySdk: async (client) => [await client.chat.completions.create(CHAT, PACED)],
    },
    {
      call: "chat completions, streamed",
      model: "gpt-5.4",
      path: "/v1/chat/completions",
      body: CHAT_STREAM,
      bySdk: async (client) => collect(await client.chat.completions.create(CHAT_STREAM, PACED)),
    },
    {
      call: "responses, streamed, reasons",
      model: "gpt-6-sol",
      path: "/v1/responses",
      body: RESPONSE,
      bySdk: async (client) => collect(await client.responses.create(RESPONSE, PACED)),
    },
  ],
};

await runCalls(ANTHROPIC);
await runCalls(OPENAI);

async function runCalls<Client>(provider: Provider<Client>): Promise<void> {
  const client = await connectIfInstalled(provider);
  for (const call of provider.calls) {
    const documents = client === undefined ? await byFetch(provider, call) : await call.bySdk(client);
    const name = client === undefined ? "fetch" : provider.packageName;
    process.stdout.write(formatCallReport(reportOf(name, call, documents)));
  }
}

async function connectIfInstalled<Client>(provider: Provider<Client>): Promise<Client | undefined> {
  try {
    return await provider.connect();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

async function byFetch(provider: Pick<Provider<unknown>, "origin" | "headers">, call: Call): Promise<readonly unknown[]> {
  const headers = { ...provider.headers, ...PACED.headers, "content-type": "application/json" };
  const response = await fetch(provider.origin + call.path, { method: "POST", headers, body: JSON.stringify(call.body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${call.path} answered ${response.status}`);
  if (call.body["stream"] !== true) return [JSON.parse(text)];
  const data = text.split("\n").filter((line) => line.startsWith("data: {"));
  return data.map((line): unknown => JSON.parse(line.slice("data: ".length)));
}

async function collect(stream: AsyncIterable<unknown>): Promise<readonly unknown[]> {
  const items: unknown[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** Reads what a client is told: the id, and the last word on each count (prompt totals differ by provider). */
function reportOf(client: string, call: Call, documents: readonly unknown[]): CallReport {
  let responseId: string | null = null;
  const counts: Record<string, number> = {};
  for (const document of documents) {
    for (const part of [document, memberOf(document, "message"), memberOf(document, "response")]) {
      const id = memberOf(part, "id");
      if (typeof id === "string") responseId ??= id;
      for (const [name, value] of Object.entries(memberOf(part, "usage") ?? {})) if (typeof value === "number") counts[name] = value;
    }
  }
  const sum = (...names: string[]) => names.reduce((total, name) => total + (counts[name] ?? 0), 0);
  return {
    client,
    call: call.call,
    model: call.model,
    responseId: call.isFree === true ? null : responseId,
    inputTokens: sum("prompt_tokens", "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    outputTokens: sum("completion_tokens", "output_tokens"),
  };
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}
