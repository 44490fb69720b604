/** Real curl through the real program: the traffic is the same as without it, to the byte and in time, and is metered whatever happens. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { hasCurl, runCurl, startCurl, throughProxy } from "../support/curl.ts";
import type { Program } from "../support/program.ts";
import { messageEvents } from "../support/scripted-upstream.ts";
import { GATEWAY, ledgerOf, openStage, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const CHAT_URL = "https://api.openai.com/v1/chat/completions";
const MESSAGES_URL = `https://${GATEWAY}/v1/messages`;
const JSON_TYPE = ["--header", "Content-Type: application/json"];
const BEARER = ["--header", "Authorization: Bearer sk-test"];
const CHAT = { model: "gpt-5.4", messages: [{ role: "user", content: "What does an agent cost?" }] };
const CHAT_STREAM = { ...CHAT, stream: true };

let stage: Stage;
let program: Program;

beforeAll(async () => {
  stage = await openStage();
  program = await stage.start();
});
afterAll(() => stage?.close());

function chat(body: unknown, simulate: string): string[] {
  return [...throughProxy(program), ...JSON_TYPE, ...BEARER, "--header", `x-simulate: ${simulate}`, "--data-binary", JSON.stringify(body), CHAT_URL];
}

/** The event of the newest exchange with the simulated provider; where there is no response id, by the upstream's request id. */
async function eventOf(requestId: string): Promise<ModelUsageEvent> {
  const own = (): ModelUsageEvent[] => stage.received().filter(({ data }) => data.request_id === requestId);
  await until(() => own().length > 0, `the event of ${requestId}`);
  expect(own()).toHaveLength(1);
  return own()[0]!;
}

/** The provider numbers its requests. */
function newestRequestId(): string {
  return `req_sim_${String(stage.openai.exchanges.length).padStart(4, "0")}`;
}

describe.skipIf(!hasCurl)("bodies", () => {
  it.each([
    ["whole", CHAT, "events=3", (bytes: Buffer) => bytes],
    ["streamed in chunks", CHAT_STREAM, "events=50", (bytes: Buffer) => bytes],
    ["whole and gzipped", CHAT, "encoding=gzip,events=50", gunzipSync],
    ["streamed and gzipped", CHAT_STREAM, "encoding=gzip,events=50", gunzipSync],
    ["streamed in brotli", CHAT_STREAM, "encoding=br,events=50", brotliDecompressSync],
    ["of 20 MB", CHAT, "bytes=20000000", (bytes: Buffer) => bytes],
    ["of a stream with an event of 12 MB", CHAT_STREAM, "events=2,bytes=12000000", (bytes: Buffer) => bytes],
  ])("that are %s arrive byte for byte, and are counted", async (_name, body, simulate, decode) => {
    const request = { ...body, ...("stream" in body ? { stream_options: { include_usage: true } } : {}) };
    const answer = await runCurl(chat(request, simulate));
    const { responseBody, closedEarly } = stage.openai.exchanges.at(-1)!;
    expect([answer.exitCode, answer.status, answer.stderr, closedEarly]).toEqual([0, 200, "", false]);
    expect(answer.body.equals(responseBody)).toBe(true);
    const { data } = await eventOf(newestRequestId());
    expect(data).toMatchObject({ completeness: "complete", usage_source: "provider", bytes_down: responseBody.length });
    const told = /"completion_tokens":(\d+)/.exec(decode(answer.body).toString());
    expect(data.totals.output_tokens).toBe(Number(told?.[1]));
  });

  it("that are large and chunked end where the upstream ended them, however the client's reading stalls", async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => runCurl(chat(CHAT_STREAM, "events=2,bytes=6000000"))));
    const sizes = stage.openai.exchanges.slice(-answers.length).map(({ responseBody }) => responseBody.length);
    expect(answers.map(({ exitCode }) => exitCode)).toEqual(answers.map(() => 0));
    expect(answers.map(({ body }) => body.length).toSorted()).toEqual(sizes.toSorted());
    expect(answers.every(({ body }) => body.subarray(-16).toString() === "\n\ndata: [DONE]\n\n")).toBe(true);
  });

  it("go up byte for byte too, with a length and in chunks", async () => {
    const content = "Why? ".repeat(500_000);
    const body = JSON.stringify({ ...CHAT, messages: [{ role: "user", content }] });
    for (const framing of [[], ["--header", "Transfer-Encoding: chunked"]]) {
      const answer = await runCurl([...throughProxy(program), ...JSON_TYPE, ...BEARER, ...framing, "--data-binary", "@-", CHAT_URL], body);
      expect([answer.exitCode, answer.status]).toEqual([0, 200]);
      expect(stage.openai.exchanges.at(-1)!.requestBody.equals(Buffer.from(body))).toBe(true);
      const { data } = await eventOf(newestRequestId());
      expect(data).toMatchObject({ bytes_up: body.length, completeness: "complete", totals: { input_tokens: content.length / 4 } });
    }
  });
});

describe.skipIf(!hasCurl)("heads", () => {
  it("are the same with and without the proxy, in both directions", async () => {
    const request = ["--http1.1", ...JSON_TYPE, ...BEARER, "--header", "X-ODD-Case: 1", "--header", "x-odd-case: 2", "--header", "x-simulate: events=2", "--data-binary", JSON.stringify(CHAT), CHAT_URL];
    const heads = [];
    const direct = ["--connect-to", `api.openai.com:443:127.0.0.1:${stage.openai.port}`, "--cacert", stage.upstreamCaFile];
    for (const [way, args] of [["direct", direct], ["proxy", throughProxy(program)]] as const) {
      const file = join(stage.dir, `${way}.head`);
      const answer = await runCurl([...args, "--suppress-connect-headers", "--dump-header", file, ...request]);
      expect(answer.exitCode).toBe(0);
      heads.push({ sent: stage.openai.exchanges.at(-1)!.rawHeaders, received: unnumbered(await readFile(file, "latin1")) });
    }
    expect(heads[1]).toEqual(heads[0]);
    expect(heads[0]!.sent).toContain("X-ODD-Case");
  });
});

/** A response head without what differs from one request to the next, and from one connection to the next. */
function unnumbered(head: string): string[] {
  return head.split("\r\n").filter((line) => !/^(date|x-request-id|connection|keep-alive|transfer-encoding):/i.test(line));
}

describe.skipIf(!hasCurl)("streams", () => {
  it("reach the client event by event: each is seen before the upstream sends the next", async () => {
    const curl = startCurl([...throughProxy(program), ...JSON_TYPE, "--header", "x-api-key: k", "--data-binary", '{"model":"claude-opus-5-5","stream":true}', MESSAGES_URL]);
    const { response } = await stage.gateway.next();
    response.writeHead(200, { "content-type": "text/event-stream", "request-id": "req_paced" });
    response.flushHeaders();
    let sent = "";
    for (const event of messageEvents("msg_paced")) {
      response.write(event);
      sent += event;
      await until(() => curl.body.length >= sent.length, "the client to see what was sent");
      expect(curl.exitCode).toBeUndefined();
    }
    response.end();
    expect([await curl.ended(), curl.body.toString()]).toEqual([0, sent]);
    expect((await eventOf("req_paced")).data).toMatchObject({ response_id: "msg_paced", completeness: "complete", usage: { input_tokens: 12, output_tokens: 7 } });
  });

  it("that the client leaves are cancelled upstream, and counted as far as they came", async () => {
    const curl = startCurl(chat(CHAT_STREAM, "endless,delay=1"));
    await until(() => curl.body.includes("piece20"), "twenty events");
    const exchange = stage.openai.exchanges.at(-1)!;
    const requestId = newestRequestId();
    curl.kill();
    await until(() => exchange.overAtMs !== undefined, "the upstream to be left");
    expect(exchange.closedEarly).toBe(true);
    const { data } = await eventOf(requestId);
    expect(data).toMatchObject({ completeness: "partial", usage_source: "estimate", streamed: true, status: 200, response_model: "gpt-5.4" });
    expect(data.usage.input_tokens).toBeGreaterThan(0);
    // Each piece ("piece00 ") is a token at the least, and more than twenty were seen.
    expect(data.usage.output_tokens).toBeGreaterThan(20);
  });

  it("that the upstream cuts off are cut off for the client, and counted as far as they came", async () => {
    for (const [body, simulate] of [[CHAT_STREAM, "cut=12,events=30"], [CHAT, "cut=150"]] as const) {
      const answer = await runCurl(chat(body, simulate));
      // 18: a partial file; 56: the TLS connection broke; 92: the HTTP/2 stream was reset.
      expect([18, 56, 92]).toContain(answer.exitCode);
      expect(answer.body.equals(stage.openai.exchanges.at(-1)!.responseBody)).toBe(true);
      const { data } = await eventOf(newestRequestId());
      expect(data).toMatchObject({ completeness: "partial", usage_source: "estimate", status: 200 });
      expect(data.usage.input_tokens).toBeGreaterThan(0);
    }
  });

  it("keep what the upstream reported before it broke off", async () => {
    const curl = startCurl([...throughProxy(program), ...JSON_TYPE, "--header", "x-api-key: k", "--data-binary", '{"model":"claude-opus-5-5","stream":true}', MESSAGES_URL]);
    const { response } = await stage.gateway.next();
    response.writeHead(200, { "content-type": "text/event-stream", "request-id": "req_cut" });
    const [start = "", block = "", delta = ""] = messageEvents("msg_cut");
    response.write(start + block + delta);
    await until(() => curl.body.length === (start + block + delta).length, "what was sent");
    response.destroy();
    expect([18, 56, 92]).toContain(await curl.ended());
    const { data } = await eventOf("req_cut");
    expect(data).toMatchObject({ response_id: "msg_cut", completeness: "partial", usage_source: "estimate", usage: { input_tokens: 12 } });
    expect(data.usage.output_tokens).toBeGreaterThan(0);
  });
});

describe.skipIf(!hasCurl)("errors of the upstream", () => {
  it.each([
    [401, []],
    [500, [...BEARER, "--header", "x-simulate: status=500"]],
  ])("pass untouched and cost nothing: %i", async (status, headers) => {
    const answer = await runCurl([...throughProxy(program), ...JSON_TYPE, ...headers, "--data-binary", JSON.stringify(CHAT), CHAT_URL]);
    expect([answer.exitCode, answer.status]).toEqual([0, status]);
    expect(answer.body.equals(stage.openai.exchanges.at(-1)!.responseBody)).toBe(true);
    expect(JSON.parse(answer.body.toString())).not.toHaveProperty("error.type", "tallyman_error");
    const requestId = newestRequestId();
    await until(async () => (await ledgerOf(program)).some(({ event }) => event.data.request_id === requestId), "the ledger's record");
    const entry = (await ledgerOf(program)).find(({ event }) => event.data.request_id === requestId)!;
    expect([entry.delivery, entry.event.data.status, entry.event.data.usage, entry.event.data.completeness]).toEqual(["none", status, {}, "complete"]);
  });

  it("are ours where the upstream cannot be reached, in the shape of its API, and cost nothing", async () => {
    const closed = await stage.start({ TALLYMAN_CONNECT_TO: "api.openai.com:443:127.0.0.1:1", TALLYMAN_DATA_DIR: join(stage.dir, "closed") });
    const answer = await runCurl([...throughProxy(closed), ...JSON_TYPE, ...BEARER, "--data-binary", JSON.stringify(CHAT), CHAT_URL]);
    expect([answer.exitCode, answer.status]).toEqual([0, 502]);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { type: "tallyman_error", code: "upstream_unreachable", message: expect.any(String) } });
    await until(async () => (await ledgerOf(closed)).length === 1, "the ledger's record");
    expect((await ledgerOf(closed))[0]).toMatchObject({ delivery: "none", event: { data: { status: 502, usage: {}, completeness: "complete" } } });
    expect(await closed.stop()).toBe(0);
  });
});
