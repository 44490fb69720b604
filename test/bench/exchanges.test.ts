import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";

import { EXCHANGES, type ExchangeId, type Stream } from "../../bench/exchanges.ts";
import { EVENTS_PER_STREAM } from "../../bench/payloads.ts";
import { handlers } from "../../src/usage/providers/index.ts";

const STREAMS = ["openai", "anthropic", "bedrock"] as const satisfies readonly ExchangeId[];
const METERS = { openai: "openai", anthropic: "anthropic", bedrock: "bedrock" } as const;

function streamOf(id: ExchangeId): Stream {
  const { answer } = EXCHANGES[id];
  if (answer.kind !== "stream") throw new Error(`${id} is no stream`);
  return answer;
}

describe("the bench's exchanges", () => {
  it.each(STREAMS)("are measured by their handler: %s", async (id) => {
    const { host, path, requestBody, answer } = EXCHANGES[id];
    const handler = handlers.find((one) => one.id === METERS[id]);
    const reader = handler?.open(
      { host, port: 443, protocol: "http", method: "POST", path, query: "", headers: [] },
      { isEstimateAllowed: true, jobs: { start: () => undefined, finish: () => false, claim: () => false } },
    ).reader;
    reader?.requestData?.(Buffer.from(requestBody));
    reader?.requestEnd?.();
    reader?.response({ status: 200, statusText: "OK", headers: ["Content-Type", answer.contentType] });
    for (const piece of await streamOf(id).pieces()) reader?.push(piece);
    expect(reader?.end({ kind: "complete" })).toMatchObject([{ kind: "measured", completeness: "complete", source: "provider" }]);
  });

  it.each([
    ["x-page", { "posts.read": 100, "users.read": 40, "media.read": 20 }],
    ["x-stream", { "posts.read": 100_000, "users.read": 100_000 }],
  ] as const)("are counted by X's handler: %s", (id, connectorUsage) => {
    const { host, path, answer } = EXCHANGES[id];
    const [pathOnly = "", query = ""] = path.split("?");
    const reader = handlers
      .find((one) => one.id === "x")
      ?.open({ host, port: 443, protocol: "http", method: "GET", path: pathOnly, query, headers: [] }, { isEstimateAllowed: true, jobs: { start: () => undefined, finish: () => false, claim: () => false } }).reader;
    const body = answer.bytes();
    expect(body).toHaveLength(answer.length);
    reader?.response({ status: 200, statusText: "OK", headers: ["Content-Type", answer.contentType] });
    for (let at = 0; at < body.length; at += 65_536) reader?.push(body.subarray(at, at + 65_536));
    expect(reader?.end({ kind: "complete" })).toMatchObject([{ kind: "measured", completeness: "complete", connectorUsage }]);
  });

  it.each(STREAMS)("are the same when they are compressed, in as many pieces: %s", async (id) => {
    const plain = await streamOf(id).pieces();
    const coded = await streamOf(`${id}-gzip`).pieces();
    expect(plain).toHaveLength(EVENTS_PER_STREAM);
    expect(coded).toHaveLength(EVENTS_PER_STREAM);
    expect(gunzipSync(Buffer.concat(coded)).equals(Buffer.concat(plain))).toBe(true);
  });
});
