import { readFileSync } from "node:fs";
import { calcPrice } from "@pydantic/genai-prices";
import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { ModelUsage } from "../../../src/usage/categories.ts";
import { LIST_PRICES_VERSION } from "../../../src/usage/pricing/list-prices.ts";
import { OWN_MODELS } from "../../../src/usage/pricing/own-prices.ts";
import { createPriceBook } from "../../../src/usage/pricing/price-book.ts";
import type { PriceQuery } from "../../../src/usage/pricing/price-book.ts";

const book = createPriceBook();
beforeAll(() => book.load());

const AT_MS = Date.UTC(2026, 10, 21, 10);

function query(model: string | null, usage: ModelUsage, more: Partial<PriceQuery> = {}): PriceQuery {
  const isClaude = model?.includes("claude") ?? false;
  const meter = isClaude ? "anthropic" : "openai";
  return { meter, host: `api.${meter}.com`, model, serviceTier: null, hints: {}, usage, atMs: AT_MS, ...more };
}

function amount(model: string | null, usage: ModelUsage, more: Partial<PriceQuery> = {}): string | null {
  return book.price(query(model, usage, more))?.amount ?? null;
}

const MILLION = 1_000_000;

describe("list prices", () => {
  it("prices the contract's sample event", () => {
    const usage = { input_tokens: 3, cache_write_5m_tokens: 12_304, output_tokens: 401, output_reasoning_tokens: 149 };
    expect(book.price(query("claude-sonnet-4-5-20250929", usage, { serviceTier: "standard" }))).toEqual({
      amount: "0.054399",
      currency: "USD",
      source: "price_book",
      price_version: book.version,
    });
  });

  it("prices every bucket of a cached OpenAI response", () => {
    // gpt-5.6-terra since 2026-07-30: 2, 0.2 read, 2.5 write, 12 USD per million.
    const usage = { input_tokens: 100, cache_read_tokens: 3072, cache_write_30m_tokens: 128, output_tokens: 56, output_reasoning_tokens: 64 };
    expect(amount("gpt-5.6-terra", usage, { serviceTier: "default" })).toBe("0.0025744");
  });

  it("takes the price of the day of the event", () => {
    const usage = { input_tokens: MILLION / 10 };
    expect(amount("gpt-5.6-terra", usage, { atMs: Date.UTC(2026, 6, 29, 23, 59) })).toBe("0.25");
    expect(amount("gpt-5.6-terra", usage, { atMs: Date.UTC(2026, 6, 30) })).toBe("0.2");
  });

  it("takes the price of the hour where a provider has one", () => {
    const at = (hour: number, minute: number) => ({ meter: "deepseek", host: "api.deepseek.com", atMs: Date.UTC(2026, 10, 21, hour, minute) });
    expect(amount("deepseek-v4-flash", { input_tokens: MILLION }, at(0, 59))).toBe("0.22");
    expect(amount("deepseek-v4-flash", { input_tokens: MILLION }, at(1, 0))).toBe("0.44");
    expect(amount("deepseek-v4-flash", { input_tokens: MILLION }, at(4, 0))).toBe("0.22");
  });

  it("moves the whole request to the long-context card by its whole prompt, cache included", () => {
    const below = { input_tokens: 1000, cache_read_tokens: 199_000, output_tokens: 1000 };
    expect(amount("claude-sonnet-4-5", below)).toBe("0.0777");
    expect(amount("claude-sonnet-4-5", { ...below, input_tokens: 1001 })).toBe("0.147906");
  });

  it("prices searches by the piece and fetches at nothing", () => {
    const usage = { input_tokens: 0, output_tokens: 1000, web_search_requests: 3, web_fetch_requests: 9 };
    expect(amount("claude-sonnet-4-5", usage)).toBe("0.045");
  });

  it("adds the fee for each request where a model has one", () => {
    const more = { meter: "perplexity", host: "api.perplexity.ai" };
    expect(amount("sonar", { input_tokens: 1000, output_tokens: 1000 }, more)).toBe("0.014");
  });

  it("prices fractions of an hour of audio", () => {
    expect(amount("whisper-1", { audio_seconds_in: 12.5 })).toBe("0.00125");
  });

  it("prices audio by its own rate, and not at all without one", () => {
    expect(amount("gpt-audio", { input_audio_tokens: MILLION, output_audio_tokens: MILLION })).toBe("96");
    expect(amount("gpt-5.4", { input_tokens: 10, input_audio_tokens: 1 })).toBeNull();
  });

  it("prices images in a prompt as its text unless the table says otherwise, and images made only by their own rate", () => {
    const google = { meter: "gemini", host: "generativelanguage.googleapis.com" };
    expect(amount("gemini-2.5-flash", { input_image_tokens: MILLION }, google)).toBe("0.3");
    expect(amount("gpt-image-1.5", { input_image_tokens: MILLION })).toBe("8");
    expect(amount("gemini-2.5-flash-image", { output_image_tokens: MILLION }, google)).toBe("30");
    expect(amount("gemini-2.5-flash", { output_image_tokens: 1 }, google)).toBeNull();
  });

  it("falls back on the meter's list for a host that no table knows", () => {
    expect(amount("gpt-5.4", { input_tokens: MILLION / 10 }, { host: "gateway.internal" })).toBe("0.25");
    expect(amount("gpt-5.4", { input_tokens: 1 }, { host: "gateway.internal", meter: "nobody" })).toBeNull();
  });

  it("names the installed version of the price library", () => {
    const file = new URL("../../../node_modules/@pydantic/genai-prices/package.json", import.meta.url);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ version: LIST_PRICES_VERSION });
    expect(book.version).toContain(LIST_PRICES_VERSION);
  });

  it("agrees with the price library wherever both count the same", () => {
    const models = ["claude-opus-4-6", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-5-5"];
    const count = fc.integer({ min: 0, max: 300_000 });
    const usages = fc.record({ input: count, read: count, write: count, hour: count, output: count });
    fc.assert(
      fc.property(fc.constantFrom(...models), usages, (model, { input, read, write, hour, output }) => {
        const theirs = calcPrice(
          {
            input_tokens: input + read + write + hour,
            cache_read_tokens: read,
            cache_write_tokens: write + hour,
            cache_write_1h_tokens: hour,
            output_tokens: output,
          },
          model,
          { providerId: "anthropic", timestamp: new Date(AT_MS) },
        );
        const ours = amount(model, {
          input_tokens: input,
          cache_read_tokens: read,
          cache_write_5m_tokens: write,
          cache_write_1h_tokens: hour,
          output_tokens: output,
        });
        expect(Number(ours)).toBeCloseTo(theirs?.total_price ?? Number.NaN, 9);
      }),
    );
  });
});

describe("what has no price", () => {
  it("leaves an unknown model unpriced", () => {
    expect(amount("claude-nonesuch-9", { input_tokens: 1 })).toBeNull();
    expect(amount(null, { input_tokens: 1 })).toBeNull();
    expect(amount("", { input_tokens: 1 })).toBeNull();
    expect(amount("x".repeat(100_000), { input_tokens: 1 })).toBeNull();
  });

  it("leaves the whole event unpriced for one category without a rate", () => {
    expect(amount("claude-sonnet-4-5", { input_tokens: 10, grounding_queries: 1 })).toBeNull();
    expect(amount("gpt-5.6-sol", { input_tokens: 10, cache_write_12h_tokens: 1 })).toBeNull();
    expect(amount("claude-sonnet-4-5", { input_tokens: 10, grounding_queries: 0 })).toBe("0.00003");
  });

  it("tells nothing reported from nothing used", () => {
    expect(amount("claude-sonnet-4-5", {})).toBeNull();
    expect(amount("claude-sonnet-4-5", { input_tokens: 0, output_tokens: 0 })).toBe("0");
  });

  it("does not price a model by the prefix of another release", () => {
    expect(amount("claude-sonnet-5", { input_tokens: MILLION })).toBe("2");
    expect(amount("claude-sonnet-5-9", { input_tokens: MILLION })).toBeNull();
  });

  it("leaves a router's free variant unpriced", () => {
    const router = { meter: "openrouter", host: "openrouter.ai" };
    expect(amount("deepseek/deepseek-r1:free", { input_tokens: 1 }, router)).toBeNull();
  });

  it("survives any name from outside", () => {
    for (const model of ["__proto__", "constructor", "a\u0000b", "arn:", "/", ":", "@", "."]) {
      expect(amount(model, { input_tokens: 1 })).toBeNull();
      expect(amount("gpt-5.4", { input_tokens: 1 }, { host: model, meter: model })).toBeNull();
      expect(amount("gpt-5.4", { input_tokens: 1 }, { serviceTier: model })).toBeNull();
    }
  });
});

describe("cache lifetimes", () => {
  const bedrock = { meter: "bedrock", host: "bedrock-runtime.us-east-1.amazonaws.com" };

  it("derives what the table lacks for Claude: five quarters for 5 minutes, double for an hour", () => {
    const model = "global.anthropic.claude-opus-4-6-v1";
    expect(amount(model, { cache_write_5m_tokens: MILLION / 10 }, bedrock)).toBe("0.625");
    expect(amount(model, { cache_write_1h_tokens: MILLION / 10 }, bedrock)).toBe("1");
  });

  it("prices a write of unknown lifetime as the short one", () => {
    expect(amount("claude-opus-4-6", { cache_write_tokens: MILLION })).toBe("6.25");
    expect(amount("gpt-6-luna", { cache_write_tokens: 100_000 })).toBe("0.0125");
  });

  it("charges OpenAI cache writes from gpt-5.6 on and as plain input before", () => {
    expect(amount("gpt-6-luna", { cache_write_30m_tokens: 100_000 })).toBe("0.0125");
    expect(amount("gpt-5.4", { cache_write_30m_tokens: 100_000 })).toBe("0.25");
    expect(amount("gpt-4o", { cache_write_30m_tokens: 100_000 })).toBe("0.25");
  });
});

describe("image models of OpenAI", () => {
  it("prices the tokens of an image as output where that is the price of an image, and by their own price else", () => {
    expect(amount("gpt-image-1", { output_image_tokens: 100_000 })).toBe("4");
    expect(amount("gpt-image-1.5", { output_image_tokens: 100_000 })).toBe("3.2");
    expect(amount("gpt-4o", { output_image_tokens: 100_000 })).toBeNull();
  });
});

describe("tiers and uplifts", () => {
  const usage = { input_tokens: 100_000 };

  it.each([
    ["default", "0.25"],
    ["standard", "0.25"],
    ["auto", "0.25"],
    ["DEFAULT", "0.25"],
    ["batch", "0.125"],
    ["flex", "0.125"],
    ["priority", "0.5"],
    ["fast", "0.5"],
    ["scale", null],
    ["something new", null],
  ])("prices service tier %s at %s", (serviceTier, expected) => {
    expect(amount("gpt-5.4", usage, { serviceTier })).toBe(expected);
  });

  it("prices flex as on demand where the provider does", () => {
    const groq = { meter: "groq", host: "api.groq.com", serviceTier: "flex" };
    expect(amount("llama-3.3-70b-versatile", { input_tokens: MILLION }, groq)).toBe("0.59");
  });

  it("halves once when tier and billing mode both say batch", () => {
    expect(amount("gpt-5.4", usage, { serviceTier: "batch", hints: { billing_mode: "batch" } })).toBe("0.125");
    expect(amount("gpt-5.4", usage, { hints: { billing_mode: "batch" } })).toBe("0.125");
  });

  it("gives a batch discount on tokens and not on fees", () => {
    expect(amount("claude-sonnet-4-5", { input_tokens: MILLION / 10, web_search_requests: 1 }, { serviceTier: "batch" })).toBe("0.16");
  });

  it("shows a subscription at list price and provisioned capacity at none", () => {
    expect(amount("claude-sonnet-4-5", usage, { hints: { billing_mode: "subscription" } })).toBe("0.3");
    expect(amount("claude-sonnet-4-5", usage, { hints: { billing_mode: "provisioned" } })).toBeNull();
    expect(amount("claude-sonnet-4-5", usage, { serviceTier: "priority" })).toBeNull();
  });

  it("adds a tenth for inference in the US on Claude 4.6 and later", () => {
    expect(amount("claude-opus-4-6", usage, { hints: { inference_geo: "us" } })).toBe("0.55");
    expect(amount("claude-sonnet-4-5", usage, { hints: { inference_geo: "us" } })).toBe("0.3");
    expect(amount("claude-opus-4-6", usage, { hints: { inference_geo: "global" } })).toBe("0.5");
    expect(amount("claude-opus-4-6", usage, { hints: { inference_geo: "eu" } })).toBeNull();
  });

  it("adds a tenth on OpenAI's residency hosts from gpt-5.4 on", () => {
    expect(amount("gpt-5.4", usage, { host: "eu.api.openai.com" })).toBe("0.275");
    expect(amount("gpt-5.2", usage, { host: "eu.api.openai.com" })).toBe("0.175");
    expect(amount("o3-mini", usage, { host: "eu.api.openai.com" })).toBeNull();
  });

  it("prices OpenAI's fast mode by the model, on OpenAI's own hosts", () => {
    // The table of fast mode: 12.50 in, 1.25 cached, 75 out for gpt-5.5; 0.45 in for gpt-5-mini.
    expect(amount("gpt-5.5", { input_tokens: 100_000, cache_read_tokens: 100_000, output_tokens: 10_000 }, { serviceTier: "fast" })).toBe("2.125");
    expect(amount("gpt-5-mini", usage, { serviceTier: "priority" })).toBe("0.045");
    expect(amount("gpt-5-nano", usage, { serviceTier: "priority" })).toBeNull();
    expect(amount("gpt-5.5", usage, { serviceTier: "priority", meter: "azure-openai", host: "acme.openai.azure.com" })).toBeNull();
  });

  it("prices Claude's fast mode by the model", () => {
    expect(amount("claude-opus-5", usage, { hints: { speed: "fast" } })).toBe("1");
    expect(amount("claude-opus-4-6", usage, { hints: { speed: "fast" } })).toBe("3");
    expect(amount("claude-opus-5-5", usage, { hints: { speed: "fast" } })).toBeNull();
    expect(amount("claude-opus-4-6", usage, { hints: { speed: "standard" } })).toBe("0.5");
  });
});

describe("facts that move a price by nobody knows how much", () => {
  const usage = { input_tokens: 100_000 };
  const bedrock = { meter: "bedrock", host: "bedrock-runtime.us-east-1.amazonaws.com" };

  it("leave an event unpriced", () => {
    const model = "global.anthropic.claude-opus-4-6-v1";
    expect(amount(model, usage, { ...bedrock, hints: { latency: "standard" } })).toBe("0.5");
    expect(amount(model, usage, { ...bedrock, hints: { latency: "optimized" } })).toBeNull();
    expect(amount("claude-sonnet-4-5", usage, { hints: { fallback_credit: "not_applied" } })).toBe("0.3");
    expect(amount("claude-sonnet-4-5", usage, { hints: { fallback_credit: "redeemed" } })).toBeNull();
    expect(amount("gpt-5.4", usage, { hints: { cache_type: "ephemeral" } })).toBeNull();
  });

  it("can be priced by an operator", () => {
    const models = [{ match: "claude-opus-4-6", when: { latency: "optimized" }, per_million: { input_tokens: "7" } }];
    const own = createPriceBook({ overridesJson: { models } });
    expect(own.price(query("claude-opus-4-6", { input_tokens: MILLION }, { hints: { latency: "optimized" } }))?.amount).toBe("7");
  });
});

describe("a machine of one's own", () => {
  const local = { meter: "ollama", host: "localhost", hints: { billing_mode: "local" } };

  it("costs nothing a token, whatever the model", () => {
    expect(amount("qwen3.6:27b", { input_tokens: MILLION, output_tokens: 5 }, local)).toBe("0");
    expect(amount("qwen3.6:27b", {}, local)).toBeNull();
  });

  it("costs what its operator says", () => {
    const own = createPriceBook({ overridesJson: { models: [{ match: "qwen3.6:*", when: { billing_mode: "local" }, per_million: { input_tokens: "0.1" } }] } });
    expect(own.price(query("qwen3.6:27b", { input_tokens: MILLION }, local))).toMatchObject({ amount: "0.1", source: "override" });
  });
});

describe("our own models", () => {
  it("prices them by day and by prompt", () => {
    expect(amount("claude-sonnet-5-5", { cache_read_tokens: MILLION }, { atMs: Date.UTC(2026, 9, 6) })).toBe("0.2");
    expect(amount("claude-sonnet-5-5", { cache_read_tokens: MILLION })).toBe("0.1");
    expect(amount("claude-haiku-5-5-20261001", { input_tokens: 100_000, output_tokens: 1000 })).toBe("0.0105");
    expect(amount("claude-haiku-5-5-20261001", { input_tokens: 100_001, output_tokens: 1000 })).toBe("0.0525005");
  });

  it("lists only what the price library does not list itself", () => {
    for (const { match } of OWN_MODELS) {
      expect(calcPrice({}, match, { providerId: "anthropic" })?.model.id, match).not.toBe(match);
    }
  });
});

describe("overrides", () => {
  const overridden = createPriceBook({
    overridesJson: {
      models: [
        { match: "claude-sonnet-4-5", per_million: { input_tokens: "1", output_tokens: 2.5 } },
        { match: "claude-sonnet-*", per_million: { input_tokens: "9" } },
        { match: "claude-*", meter: "elsewhere", per_million: { input_tokens: "99" } },
        { match: "gpt-5.4", when: { service_tier: "priority" }, per_million: { input_tokens: "5" } },
        { match: "local-*", per_million: { input_tokens: "0", output_tokens: "0" } },
        { match: "painter", per_unit: { images_out: "0.04" }, per_request: "0.001" },
        { match: "dated", per_million: { input_tokens: "1" } },
        { match: "dated", from: "2026-11-22", per_million: { input_tokens: "2" } },
        { match: "hidden-*" },
        { match: "hidden-not", per_million: { input_tokens: "1" } },
      ],
    },
  });
  const price = (model: string, usage: ModelUsage, more: Partial<PriceQuery> = {}) => overridden.price(query(model, usage, more));

  it("win over the list, whatever date the name carries", () => {
    expect(price("claude-sonnet-4-5-20250929", { input_tokens: MILLION, output_reasoning_tokens: MILLION })).toMatchObject({
      amount: "3.5",
      source: "override",
      price_version: overridden.version,
    });
    expect(overridden.version).not.toBe(book.version);
  });

  it("stand for the whole model, with cache writes by their rule", () => {
    expect(price("claude-sonnet-4-5", { cache_write_1h_tokens: MILLION })?.amount).toBe("2");
    expect(price("claude-sonnet-4-5", { cache_read_tokens: 1 })).toBeNull();
  });

  it("are chosen by the longest name and only for their meter", () => {
    expect(price("claude-sonnet-4-6", { input_tokens: MILLION })?.amount).toBe("9");
    expect(price("claude-opus-4-6", { input_tokens: MILLION })?.source).toBe("price_book");
    expect(price("hidden-model", { input_tokens: MILLION })).toBeNull();
    expect(price("hidden-not", { input_tokens: MILLION })?.amount).toBe("1");
  });

  it("can price a tier that no list has, as it is", () => {
    expect(price("gpt-5.4", { input_tokens: MILLION }, { serviceTier: "priority" })?.amount).toBe("5");
    expect(price("gpt-5.4", { input_tokens: 100_000 })).toMatchObject({ amount: "0.25", source: "price_book" });
  });

  it("take our discounts where they do not name the fact", () => {
    expect(price("claude-sonnet-4-5", { input_tokens: MILLION }, { serviceTier: "batch" })?.amount).toBe("0.5");
  });

  it("can say that something is free, and price pieces and requests", () => {
    expect(price("local-llama", { input_tokens: 5, output_tokens: 5 })?.amount).toBe("0");
    expect(price("painter", { images_out: 3 })?.amount).toBe("0.121");
  });

  it("hold from their day on", () => {
    expect(price("dated", { input_tokens: MILLION })?.amount).toBe("1");
    expect(price("dated", { input_tokens: MILLION }, { atMs: Date.UTC(2026, 10, 22) })?.amount).toBe("2");
  });
});

describe("many models", () => {
  it("gives the same prices when more names pass than it remembers", () => {
    const first = amount("claude-sonnet-4-5", { input_tokens: 1 });
    for (let i = 0; i < 1200; i++) expect(amount(`nonesuch-${i}`, { input_tokens: 1 })).toBeNull();
    expect(amount("claude-sonnet-4-5", { input_tokens: 1 })).toBe(first);
  });

  it("gives budgets the same number as an integer", () => {
    expect(book.pricePicoUsd(query("claude-sonnet-4-5", { input_tokens: 1 }))).toBe(3_000_000n);
    expect(book.pricePicoUsd(query("nonesuch", { input_tokens: 1 }))).toBeNull();
  });
});
