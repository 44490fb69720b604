/** docs/events.md names every field and every category that an event has, and none that it has not. */

import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { INPUT_CATEGORIES, MODEL_CATEGORIES, OUTPUT_CATEGORIES } from "../../src/usage/categories.ts";
import { createEventBuilder } from "../../src/usage/event.ts";
import type { EventBuilder, FlowEnding, FlowFacts } from "../../src/usage/event.ts";
import type { EventCost, UsageEvent } from "../../src/usage/event-types.ts";
import type { ConnectorReading, ModelReading } from "../../src/usage/handler.ts";
import { signatureHeader, signingKey } from "../../src/usage/sinks/signature.ts";
import { firstCells, tableRows } from "./markdown-tables.ts";

/** With every field that a cost may have. */
const COST: Required<EventCost> = { amount: "1", currency: "USD", source: "provider", list_amount: "1", price_version: "v" };

const FACTS: FlowFacts = {
  flowId: "0193f0a2-0000-7000-8000-000000000000",
  startedAtMs: 0,
  host: "api.example.com",
  meter: "example",
  kind: "model",
  api: "example.chat",
  operation: "chat",
  attribution: { orgId: null, userId: null, agentId: null, threadId: null, callerType: null, metadata: {} },
  billable: true,
};

const ENDING: FlowEnding = { endedAtMs: 1, status: 200, requestId: null, latencyMs: 1, timeToFirstByteMs: 1, bytesUp: 1, bytesDown: 1 };

const MEASURED = { kind: "measured", completeness: "complete", source: "provider" } as const;

const MODEL_READING: ModelReading = {
  ...MEASURED,
  usage: { input_tokens: 1 },
  requestModel: null,
  responseModel: null,
  responseId: null,
  serviceTier: null,
  streamed: false,
};

const CONNECTOR_READING: ConnectorReading = { ...MEASURED, route: "things.read", connectorUsage: { "things.read": 1 }, dims: { tool: "read" } };

const builder: EventBuilder = createEventBuilder({ hasCanonicalTokens: true, deploymentId: "d", price: () => COST });
/** As it is without settings. */
const plainEvent: UsageEvent = createEventBuilder({ deploymentId: "d", price: () => COST }).build(FACTS, ENDING, MODEL_READING, 0);
const modelEvent: UsageEvent = builder.build(FACTS, ENDING, MODEL_READING, 0);
const connectorEvent: UsageEvent = builder.build({ ...FACTS, kind: "connector" }, ENDING, CONNECTOR_READING, 0);

describe("docs/events.md", () => {
  it("lists the fields of the envelope", () => {
    expect(firstCells("events.md", "Envelope").toSorted()).toEqual(Object.keys(modelEvent).toSorted());
  });

  it("lists the data of a model event", () => {
    const documented = [...firstCells("events.md", "Data of every event"), ...firstCells("events.md", "Data of a model event")];
    expect(documented.toSorted()).toEqual(Object.keys(modelEvent.data).toSorted());
  });

  it("lists the data of a connector event", () => {
    const documented = [...firstCells("events.md", "Data of every event"), ...firstCells("events.md", "Data of a connector event")];
    expect(documented.toSorted()).toEqual(Object.keys(connectorEvent.data).toSorted());
  });

  it("lists the fields of totals and cost", () => {
    expect(firstCells("events.md", "Totals")).toEqual(Object.keys("totals" in modelEvent.data ? modelEvent.data.totals : {}));
    expect(firstCells("events.md", "Cost").toSorted()).toEqual(Object.keys(COST).toSorted());
  });

  it("lists every category in the order of events, on its side", () => {
    const sideOf = (category: string): string => {
      if ((INPUT_CATEGORIES as readonly string[]).includes(category)) return "prompt";
      return (OUTPUT_CATEGORIES as readonly string[]).includes(category) ? "completion" : "unit";
    };
    const documented = tableRows("events.md", "Categories").map(([category, side]) => [category, side]);
    expect(documented).toEqual(MODEL_CATEGORIES.map((category) => [category, sideOf(category)]));
  });

  it("shows an event of the shape that is sent", () => {
    const shown: unknown = JSON.parse(codeBlocks("json")[0] ?? "");
    expect(shapeOf(shown)).toEqual(shapeOf({ ...plainEvent, data: { ...plainEvent.data, cost: withoutListAmount(COST) } }));
  });

  it("has two ways to check a signature that take a right one and refuse a wrong one", async () => {
    const [byHand, byPackage] = codeBlocks("ts");
    const { isSigned } = await importCode<{ isSigned: (secret: string, headers: object, body: Buffer) => boolean }>(byHand);
    const { readEvents } = await importCode<{ readEvents: (secret: string, headers: object, body: string) => unknown }>(byPackage);
    const { secret, headers, body } = signedPost();

    expect(isSigned(secret, headers, body)).toBe(true);
    expect(readEvents(secret, headers, body.toString())).toEqual(JSON.parse(body.toString()));
    for (const wrong of [{ "webhook-timestamp": "1" }, { "webhook-signature": "v1,AAAA" }, { "webhook-id": "msg_other" }, { "webhook-timestamp": "x" }]) {
      expect(isSigned(secret, { ...headers, ...wrong }, body), JSON.stringify(wrong)).toBe(false);
      expect(() => readEvents(secret, { ...headers, ...wrong }, body.toString()), JSON.stringify(wrong)).toThrow(/signature|timestamp/i);
    }
    expect(isSigned(secret, headers, Buffer.from("[]"))).toBe(false);
    expect(isSigned(secret, {}, body)).toBe(false);
    expect(() => readEvents(secret, headers, "[]")).toThrow(/signature/i);
  });
});

/** As delivery signs it while secrets rotate: the receiver still knows the older one. */
function signedPost(): { secret: string; headers: Record<string, string>; body: Buffer } {
  const [newer, older] = [newSecret(), newSecret()];
  const body = Buffer.from(JSON.stringify([modelEvent]));
  const timestamp = Math.floor(Date.now() / 1000);
  const signature = signatureHeader([signingKey(newer), signingKey(older)], "msg_1", timestamp, body);
  return { secret: older, headers: { "webhook-id": "msg_1", "webhook-timestamp": String(timestamp), "webhook-signature": signature }, body };
}

function newSecret(): string {
  return `whsec_${randomBytes(24).toString("base64")}`;
}

function codeBlocks(language: string): readonly string[] {
  const text = readFileSync(join(import.meta.dirname, "..", "..", "docs", "events.md"), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map((match) => match[1] ?? "");
}

/** Runs a block as a module of this folder, so that it finds its packages. */
async function importCode<T>(code: string | undefined): Promise<T> {
  const file = join(import.meta.dirname, `.block-${randomBytes(6).toString("hex")}.ts`);
  writeFileSync(file, code ?? "");
  try {
    return (await import(file)) as T;
  } finally {
    rmSync(file);
  }
}

function withoutListAmount({ list_amount: _, ...rest }: Required<EventCost>): EventCost {
  return rest;
}

/** Names and nesting, without the values; the counts and the metadata are free. */
function shapeOf(value: unknown, name = ""): unknown {
  if (typeof value !== "object" || value === null || name === "usage" || name === "metadata") return name;
  return Object.entries(value).map(([key, part]) => [key, shapeOf(part, key)]);
}
