/**
 * Counts in the bodies of the vendors that Bedrock serves (reference/model-usage.md section 5.13.2), whole or in chunks
 * of a stream, whose counts are cumulative.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import { ANTHROPIC_COUNTS, mapAnthropicUsage } from "./anthropic-usage.ts";
import { CONVERSE_COUNTS, mapConverseUsage } from "./bedrock-counts.ts";
import type { MappedCounts } from "./bedrock-counts.ts";
import { asObject, countOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { mapChatUsage } from "./openai-usage.ts";
import type { UsageTraits } from "./openai-usage.ts";
import { put } from "./reading.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

/** Where counts stand. In a chunk of Titan the output is one number; whole, it has one for each result. */
export const NATIVE_COUNT_PATHS: readonly JsonPath[] = [
  ["usage"],
  ["metadata", "usage"],
  ["inputTextTokenCount"],
  ["inputTokenCount"],
  ["totalOutputTextTokenCount"],
  ["results", "*", "tokenCount"],
  ["prompt_token_count"],
  ["generation_token_count"],
];

/** Mistral, AI21, DeepSeek, Qwen and OpenAI's own models send usage of OpenAI's shape; reasoning by the total. */
const CHAT_TRAITS: UsageTraits = { reasoning: "by_total", isCachedBesideWhenLarger: true, cacheWrite: "cache_write_tokens" };

const CHAT_COUNTS = ["prompt_tokens", "completion_tokens"] as const;

/** The counts of one answer as far as they were seen. */
export class NativeUsage {
  private usage: JsonObject | undefined;
  private input: number | undefined;
  private output: number | undefined;
  private hasOutputReport = false;

  /** Takes a value at one of NATIVE_COUNT_PATHS; false for any other path. */
  value(path: JsonPath, value: unknown): boolean {
    switch (path.at(-1)) {
      case "usage":
        return this.merge(asObject(value));
      case "inputTextTokenCount":
      case "inputTokenCount":
      case "prompt_token_count":
        this.input = countOf(value) ?? this.input;
        return true;
      case "totalOutputTextTokenCount":
      case "generation_token_count":
        return this.reportOutput(countOf(value));
      case "tokenCount":
        // The results of one body are billed together.
        return this.reportOutput((this.output ?? 0) + (countOf(value) ?? 0));
      default:
        return false;
    }
  }

  /** Whether output was reported since the last call. */
  takeOutputReport(): boolean {
    const had = this.hasOutputReport;
    this.hasOutputReport = false;
    return had;
  }

  /** By what the usage object has; undefined: nothing was reported. */
  map(): MappedCounts | undefined {
    const { usage } = this;
    if (usage !== undefined && hasCount(usage, CHAT_COUNTS)) return mapChatUsage(usage, CHAT_TRAITS);
    if (usage !== undefined && hasCount(usage, CONVERSE_COUNTS)) return mapConverseUsage(usage);
    if (usage !== undefined && hasCount(usage, ANTHROPIC_COUNTS)) return mapAnthropicUsage(usage, false);
    if (this.input === undefined && this.output === undefined) return undefined;
    const counts: MappedCounts = { usage: {}, anomalies: [] };
    put(counts.usage, "input_tokens", this.input);
    put(counts.usage, "output_tokens", this.output);
    return counts;
  }

  private merge(usage: JsonObject | undefined): true {
    if (usage === undefined) return true;
    this.usage = mergeSnapshot(this.usage, usage);
    const output = countOf(usage["outputTokens"]) ?? countOf(usage["completion_tokens"]) ?? countOf(usage["output_tokens"]) ?? 0;
    this.hasOutputReport ||= output > 0;
    return true;
  }

  private reportOutput(count: number | undefined): true {
    if (count === undefined) return true;
    this.output = count;
    this.hasOutputReport ||= count > 0;
    return true;
  }
}
