/**
 * An agent: calls the providers by their own SDKs, pointed at the proxy by environment variables alone, and prints what
 * they told it, one JSON object a line. Runs as a process of its own: `node agent.ts NAME…`.
 */

import { createHash } from "node:crypto";
import { Agent } from "node:https";

/** What an SDK was told of usage, and the bodies that passed in its process. */
export interface AgentReport {
  readonly name: string;
  readonly told: unknown;
}

export interface AgentBody {
  readonly target: string;
  /** SHA-256 of the bytes; the request's only where it is text. */
  readonly request?: string;
  readonly response: string;
}

const KEY = "synthetic-key-of-no-value";
const QUESTION = "What does an agent cost?";

const say = (line: AgentReport | { readonly body: AgentBody }): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const digest = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");

/** The bytes that a program gets are those that its `fetch` gives it. */
const originalFetch = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const response = await originalFetch(input, init);
  const url = new URL(input instanceof Request ? input.url : String(input));
  // The openai package asks for "data:," to see what its runtime can do.
  if (url.protocol !== "https:") return response;
  const chunks: Uint8Array[] = [];
  const watched = response.body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        chunks.push(Uint8Array.from(chunk));
        controller.enqueue(chunk);
      },
      flush: () => say({ body: { target: url.pathname + url.search, ...(typeof init?.body === "string" ? { request: digest(init.body) } : {}), response: digest(Buffer.concat(chunks)) } }),
    }),
  );
  const copy = new Response(watched, { status: response.status, statusText: response.statusText, headers: response.headers });
  Object.defineProperty(copy, "url", { value: response.url });
  return copy;
};

async function last<Item>(items: AsyncIterable<Item>): Promise<Item> {
  let found: Item | undefined;
  for await (const item of items) found = item;
  if (found === undefined) throw new Error("the stream is empty");
  return found;
}

const CALLS: Readonly<Record<string, () => Promise<void>>> = {
  async gemini() {
    const { GoogleGenAI } = await import("@google/genai");
    const client = new GoogleGenAI({ apiKey: KEY });
    const request = { model: "gemini-3.8-flash", contents: QUESTION };
    say({ name: "gemini-whole", told: (await client.models.generateContent(request)).usageMetadata });
    say({ name: "gemini-stream", told: (await last(await client.models.generateContentStream(request))).usageMetadata });
    say({ name: "gemini-count", told: await client.models.countTokens(request) });
    say({ name: "gemini-embed", told: (await client.models.embedContent({ model: "gemini-embedding-001", contents: "x" })).embeddings?.length });
  },
  async bedrock() {
    const { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand, InvokeModelCommand, InvokeModelWithResponseStreamCommand } = await import("@aws-sdk/client-bedrock-runtime");
    const { NodeHttpHandler } = await import("@smithy/node-http-handler");
    const requestHandler = new NodeHttpHandler({ httpsAgent: new Agent({ proxyEnv: process.env }) });
    const client = new BedrockRuntimeClient({ region: "us-east-1", credentials: { accessKeyId: KEY, secretAccessKey: KEY }, requestHandler });
    const modelId = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
    const messages = [{ role: "user" as const, content: [{ text: QUESTION }] }];
    say({ name: "bedrock-converse", told: (await client.send(new ConverseCommand({ modelId, messages }))).usage });
    const stream = (await client.send(new ConverseStreamCommand({ modelId, messages }))).stream;
    say({ name: "bedrock-converse-stream", told: stream === undefined ? undefined : (await last(stream)).metadata?.usage });
    const body = JSON.stringify({ anthropic_version: "bedrock-2023-05-31", max_tokens: 10, messages: [{ role: "user", content: QUESTION }] });
    const invoked = await client.send(new InvokeModelCommand({ modelId, body, contentType: "application/json" }));
    say({ name: "bedrock-invoke", told: JSON.parse(Buffer.from(invoked.body).toString()).usage });
    const chunks = (await client.send(new InvokeModelWithResponseStreamCommand({ modelId, body, contentType: "application/json" }))).body;
    say({ name: "bedrock-invoke-stream", told: chunks === undefined ? undefined : JSON.parse(Buffer.from((await last(chunks)).chunk?.bytes ?? []).toString()) });
  },
  async cohere() {
    const { CohereClientV2 } = await import("cohere-ai");
    const client = new CohereClientV2({ token: KEY });
    const request = { model: "command-a-03-2025", messages: [{ role: "user" as const, content: QUESTION }] };
    say({ name: "cohere-whole", told: (await client.chat(request)).usage });
    say({ name: "cohere-stream", told: await last(await client.chatStream(request)) });
    say({ name: "cohere-embed", told: (await client.embed({ model: "embed-v4.0", texts: ["x"], inputType: "search_query", embeddingTypes: ["float"] })).meta });
    say({ name: "cohere-rerank", told: (await client.rerank({ model: "rerank-v3.5", query: "x", documents: ["y"] })).meta });
  },
  async ollama() {
    const { Ollama } = await import("ollama");
    const client = new Ollama({ host: "https://ollama.com", headers: { authorization: `Bearer ${KEY}` } });
    const request = { model: "qwen3.6:27b", messages: [{ role: "user", content: QUESTION }] };
    say({ name: "ollama-whole", told: await client.chat(request) });
    say({ name: "ollama-stream", told: await last(await client.chat({ ...request, stream: true })) });
    say({ name: "ollama-embed", told: await client.embed({ model: "embeddinggemma", input: "x" }) });
  },
  async mistral() {
    const { Mistral } = await import("@mistralai/mistralai");
    const client = new Mistral({ apiKey: KEY });
    const request = { model: "mistral-large-latest", messages: [{ role: "user" as const, content: QUESTION }] };
    say({ name: "mistral-whole", told: (await client.chat.complete(request)).usage });
    say({ name: "mistral-stream", told: (await last(await client.chat.stream(request))).data.usage });
    say({ name: "mistral-embed", told: (await client.embeddings.create({ model: "mistral-embed", inputs: "x" })).usage });
  },
  async groq() {
    const { default: Groq } = await import("groq-sdk");
    const client = new Groq({ apiKey: KEY });
    const request = { model: "openai/gpt-oss-120b", messages: [{ role: "user" as const, content: QUESTION }] };
    say({ name: "groq-whole", told: (await client.chat.completions.create(request)).usage });
    say({ name: "groq-stream", told: (await last(await client.chat.completions.create({ ...request, stream: true }))).x_groq });
  },
  async azure() {
    const { AzureOpenAI, toFile } = await import("openai");
    const client = new AzureOpenAI({ endpoint: "https://acme.openai.azure.com", apiKey: KEY, apiVersion: "2026-06-01" });
    const chat = await client.chat.completions.create({ model: "my-deployment", stream: true, stream_options: { include_usage: true }, messages: [{ role: "user", content: QUESTION }] });
    say({ name: "azure-stream", told: (await last(chat)).usage });
    say({ name: "azure-image", told: (await client.images.generate({ model: "gpt-image-2", prompt: "a harbour" })).usage });
    const transcription = await client.audio.transcriptions.create({ model: "gpt-4o-transcribe", file: await toFile(Buffer.from("ID3"), "a.mp3") });
    say({ name: "azure-transcription", told: "usage" in transcription ? transcription.usage : undefined });
    say({ name: "azure-speech", told: (await (await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: "Hello there" })).arrayBuffer()).byteLength });
    say({ name: "azure-embed", told: (await client.embeddings.create({ model: "embedding", input: "x", encoding_format: "float" })).usage });
  },
  async foundry() {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic({ apiKey: KEY, baseURL: "https://acme.services.ai.azure.com/anthropic" });
    const request = { model: "claude-opus-5-5", max_tokens: 100, messages: [{ role: "user" as const, content: QUESTION }] };
    say({ name: "foundry-whole", told: (await client.messages.create(request)).usage });
    say({ name: "foundry-stream", told: (await client.messages.stream(request).finalMessage()).usage });
  },
  async unknown() {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ apiKey: KEY, baseURL: "https://llm.unknown.example/gateway/v1" });
    say({ name: "unknown-whole", told: (await client.chat.completions.create({ model: "some-model", messages: [{ role: "user", content: QUESTION }] })).usage });
    await (await fetch("https://llm.unknown.example/v1/messages", { method: "POST", body: "{}" })).text();
  },
};

for (const name of process.argv.slice(2)) await CALLS[name]?.();
