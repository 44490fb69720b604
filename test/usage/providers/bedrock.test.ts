import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostMatches } from "../../../src/flow/route.ts";
import { totalsOf } from "../../../src/usage/categories.ts";
import type { ExchangeInfo, OpenedExchange, Reading } from "../../../src/usage/handler.ts";
import { bedrock } from "../../../src/usage/providers/bedrock.ts";
import { createReplayJobs, replayExchange } from "../../../src/usage/replay.ts";
import type { ReplayOptions } from "../../../src/usage/replay.ts";
import { encodeEvent, encodeNotation } from "../../../src/usage/replay-frames.ts";
import { expectReadings, loadFixtures } from "../../support/fixture.ts";
import type { Fixture } from "../../support/fixture.ts";
import { describeHandlerContract } from "../../support/handler-contract.ts";

describeHandlerContract("bedrock", [bedrock]);

/** Fixtures of event streams: their bodies are in the notation of eventstream-frames.ts, and encoded here. */
const STREAMS = loadFixtures("bedrock/stream");

const EXCEPTION = encodeNotation('exception:internalServerException {"message":"m"}')[0]!;

describe("the recorded event streams of bedrock", () => {
  it("are there", () => expect(STREAMS.length).toBeGreaterThan(20));

  describe.each(STREAMS)("$name", (fixture) => {
    const frames = framesOf(fixture);
    const body = Buffer.concat(frames);
    const whole = read(fixture, [body]);
    const most = tokensOf(read(fixture, [body], { estimate: false }));

    it("gives the expected readings", () => expectReadings(whole, fixture.exchanges[0]!.expected));

    it("gives the same readings when it is split at any byte", () => {
      expect(read(fixture, Array.from(body, (byte) => Uint8Array.of(byte)))).toEqual(whole);
      for (let at = 1; at < body.length; at++) {
        expect(read(fixture, [body.subarray(0, at), body.subarray(at)]), `split at ${at}`).toEqual(whole);
      }
    });

    it("never counts more when it is cut at any byte, and is complete only after its end", () => {
      for (let at = 0; at < body.length; at++) {
        const cut = [body.subarray(0, at)];
        expect(tokensOf(read(fixture, cut, { estimate: false, end: "upstream_aborted" })), `cut at ${at}`).toBeLessThanOrEqual(most);
        const left = read(fixture, cut, { end: "client_aborted" });
        if (isComplete(left)) expect(left, `cut at ${at}`).toEqual(read(fixture, [body]));
        const isBeforeLast = at <= body.length - frames.at(-1)!.length;
        if (isBeforeLast) expect(isComplete(read(fixture, cut, { end: "complete" })), `cut at ${at}`).toBe(false);
      }
    });

    it("never counts more with an exception after any frame, and is not complete then", () => {
      for (let count = 0; count < frames.length; count++) {
        const cut = [...frames.slice(0, count), EXCEPTION];
        const readings = read(fixture, cut, { estimate: false, end: "complete" });
        expect(tokensOf(readings), `after ${count} frames`).toBeLessThanOrEqual(most);
        expect(isComplete(readings), `after ${count} frames`).toBe(false);
      }
    });

    it("notices every changed byte", () => {
      fc.assert(
        fc.property(fc.nat(body.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
          const damaged = Uint8Array.from(body);
          damaged[at]! ^= change;
          const readings = read(fixture, [damaged], { estimate: false, end: "complete" });
          expect(tokensOf(readings)).toBeLessThanOrEqual(most);
          expect(isComplete(readings), `byte ${at} changed`).toBe(false);
        }),
        { numRuns: 60 },
      );
    });
  });
});

describe("a broken frame", () => {
  const fixture = STREAMS.find(({ name }) => name.endsWith("/claude-events-win-over-metrics"))!;
  const frames = framesOf(fixture);

  it("ends the reading with what came before it", () => {
    const damaged = Buffer.concat(frames);
    damaged[damaged.length - 1]! ^= 1;
    const [reading] = read(fixture, [damaged]);
    expect(reading).toMatchObject({ kind: "measured", completeness: "partial", usage: { input_tokens: 12, output_tokens: 340 } });
    expect(reading).toHaveProperty("anomalies", ["stream_truncated", "frame_message_checksum"]);
  });

  it("leaves the usage unknown when it is the first", () => {
    const [reading] = read(fixture, [Buffer.from("no frames at all, whatever the header says")]);
    expect(reading).toEqual({ kind: "unmeasured", reason: "undecodable", requestModel: "us.anthropic.claude-sonnet-4-5-20250929-v1:0" });
  });
});

describe("a chunk", () => {
  const fixture = STREAMS.find(({ name }) => name.endsWith("/claude-events-win-over-metrics"))!;

  it("may have line ends in its JSON, and escapes and spaces around its base64", () => {
    const loose = linesOf(fixture).map((line) => {
      const json: unknown = JSON.parse(line.slice("chunk ".length));
      const base64 = Buffer.from(JSON.stringify(json, null, 1).replaceAll("\n", "\r\n")).toString("base64");
      return encodeEvent("chunk", `{"p":"bytes", "bytes": "${base64.replaceAll("/", "\\/")}"}`);
    });
    expect(read(fixture, loose)).toEqual(read(fixture, framesOf(fixture)));
  });

  it("without bytes, or of a kind that is not known, tells nothing", () => {
    const noise = [encodeEvent("future", '{"a":1}'), encodeEvent("chunk", '{"bytes":7}'), encodeEvent("chunk", "{}"), encodeEvent("a\nb: c", "{}")];
    expect(read(fixture, [...noise, ...framesOf(fixture)])).toEqual(read(fixture, framesOf(fixture)));
  });
});

describe("an exchange with bedrock", () => {
  it.each([
    ["POST", "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke", "bedrock.invoke", "chat", true],
    ["POST", "/prefix/model/meta.llama3-8b-instruct-v1%3A0/invoke-with-response-stream/", "bedrock.invoke", "chat", true],
    ["POST", "/model/amazon.titan-embed-text-v2%3A0/invoke", "bedrock.invoke", "embeddings", true],
    ["POST", "/model/cohere.rerank-v3-5%3A0/invoke", "bedrock.invoke", "rerank", true],
    ["POST", "/model/amazon.nova-canvas-v1%3A0/invoke", "bedrock.invoke", "image", true],
    ["POST", "/model/apac.amazon.nova-pro-v1%3A0/converse", "bedrock.converse", "chat", true],
    ["POST", "/model/apac.amazon.nova-pro-v1%3A0/converse-stream", "bedrock.converse", "chat", true],
    ["POST", "/model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream", "bedrock.invoke_bidirectional", "realtime", true],
    ["POST", "/model/a/count-tokens", "bedrock.count_tokens", "count_tokens", false],
    ["GET", "/model/a/converse", "bedrock.other", "other", false],
    ["POST", "/guardrail/g/version/1/apply", "bedrock.guardrail", "guardrail", true],
    ["POST", "/guardrail-checks/invoke", "bedrock.guardrail", "guardrail", true],
    ["GET", "/guardrail-checks/invoke", "bedrock.other", "other", false],
    ["POST", "/async-invoke", "bedrock.async_invoke", "other", true],
    ["GET", "/async-invoke", "bedrock.async_invoke", "fetch", false],
    ["POST", "/openai/v1/chat/completions", "bedrock.chat_completions", "chat", true],
    ["POST", "/model/a%zz/b/invoke", "bedrock.invoke", "chat", true],
    ["POST", "/model//converse", "bedrock.other", "other", false],
    ["POST", "/model/converse", "bedrock.other", "other", false],
  ])("%s %s is %s, %s", (method, path, api, operation, isBillable) => {
    expect(open({ method, path })).toMatchObject({ api, operation, isBillable });
  });

  it.each([
    ["bedrock.us-east-1.amazonaws.com", "GET", "/foundation-models", "bedrock.models", "list_models"],
    ["bedrock.eu-west-1.amazonaws.com", "GET", "/inference-profiles/x", "bedrock.models", "list_models"],
    ["bedrock.us-east-1.api.aws", "GET", "/model-invocation-jobs", "bedrock.batches", "batch"],
    ["vpce-1.bedrock.us-east-1.vpce.amazonaws.com", "POST", "/guardrails", "bedrock.control", "other"],
  ])("of the control plane is free: %s %s %s", (host, method, path, api, operation) => {
    expect(open({ host, method, path })).toEqual({ api, operation, isBillable: false, reader: undefined });
  });

  it.each([
    ["/openai/v1/chat/completions", "bedrock.chat_completions"],
    ["/v1/responses", "bedrock.responses"],
    ["/anthropic/v1/messages", "bedrock.messages"],
  ])("of the new front speaks the vendors' own formats: %s", (path, api) => {
    expect(open({ host: "bedrock-mantle.eu-west-1.api.aws", path })).toMatchObject({ api, isBillable: true });
  });

  it("on a socket has a usage that cannot be read", () => {
    const socket = open({ path: "/model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream", protocol: "websocket" });
    expect(socket).toEqual({ api: "bedrock.invoke_bidirectional", operation: "realtime", isBillable: true, reader: undefined });
  });

  it("with a path of slashes is opened in linear time", () => {
    expect(open({ path: `/model/${"model/".repeat(200_000)}` })).toMatchObject({ api: "bedrock.other" });
  });

  it("is known by its host in every form, and other services of AWS are not", () => {
    const isKnown = (host: string): boolean => bedrock.hosts.some((pattern) => hostMatches(pattern, host, 443));
    const known = [
      "bedrock-runtime.us-east-1.amazonaws.com",
      "bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
      "bedrock-runtime.eu-central-1.api.aws",
      "bedrock-runtime-fips.us-west-2.api.aws",
      "bedrock-runtime.cn-north-1.amazonaws.com.cn",
      "vpce-0123-abcd.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com",
      "bedrock-mantle.us-east-1.api.aws",
      "bedrock.us-east-1.amazonaws.com",
    ];
    expect(known.filter((host) => !isKnown(host))).toEqual([]);
    for (const host of ["s3.us-east-1.amazonaws.com", "bedrock.amazonaws.com", "us-east-1.amazonaws.com", "sts.us-east-1.api.aws"]) {
      expect(isKnown(host), host).toBe(false);
    }
  });

  it("has errors in the service's own shape", () => {
    expect(bedrock.errorBody?.({ status: 429, code: "budget_exhausted", message: "m" })).toEqual({ __type: "ThrottlingException", message: "m" });
    expect(bedrock.errorBody?.({ status: 502, code: "upstream_dns", message: "m" })).toEqual({ __type: "InternalServerException", message: "m" });
  });
});

function open(exchange: Partial<ExchangeInfo>): OpenedExchange {
  const info: ExchangeInfo = {
    host: "bedrock-runtime.us-east-1.amazonaws.com",
    port: 443,
    protocol: "http",
    method: "POST",
    path: "/",
    query: "",
    headers: [],
    ...exchange,
  };
  return bedrock.open(info, { isEstimateAllowed: true, jobs: createReplayJobs() });
}

function framesOf(fixture: Fixture): readonly Buffer[] {
  return encodeNotation(fixture.exchanges[0]?.response?.body ?? "");
}

function linesOf(fixture: Fixture): readonly string[] {
  return (fixture.exchanges[0]?.response?.body ?? "").split("\n").filter((line) => line !== "");
}

function read(fixture: Fixture, body: readonly Uint8Array[], options: ReplayOptions = {}): readonly Reading[] {
  const exchange = fixture.exchanges[0]!;
  const changed = { ...exchange, options: { ...exchange.options, ...options } };
  return replayExchange(changed, bedrock, { jobs: createReplayJobs(), split: () => body }).readings;
}

function tokensOf(readings: readonly Reading[]): number {
  return readings.reduce((sum, reading) => sum + ("usage" in reading ? totalsOf(reading.usage).total_tokens : 0), 0);
}

function isComplete(readings: readonly Reading[]): boolean {
  return readings.some((reading) => reading.kind === "measured" && reading.completeness === "complete");
}
