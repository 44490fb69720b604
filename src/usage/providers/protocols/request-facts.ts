/**
 * What a request's JSON says that its response does not: the model asked for, limits, background. Read by a scan that
 * steps over messages and tools, so no prompt is held. The size of the body feeds the input estimate.
 */

import { createInputEstimate } from "../../estimate/input-estimate.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { RequestOutline } from "../../handler.ts";
import { asObject, countOf, textOf } from "./json-values.ts";

/** As far as the request was read; absent facts have the API's default. */
export interface RequestFacts {
  readonly model: string | null;
  /** `stream: true`. What framing the answer has is told by the response alone. */
  readonly isStream: boolean;
  /** `max_completion_tokens`, `max_output_tokens` or `max_tokens`. */
  readonly maxOutputTokens: number | undefined;
  /** `n`: how many choices the answer has. */
  readonly choiceCount: number;
  /** `background: true` of the Responses API. */
  readonly isBackground: boolean;
  /** The model of the image tool, where the request names one. */
  readonly imageModel: string | null;
  /** Every cache_control of the request asks for one hour (Anthropic). False without any. */
  readonly hasOnlyHourCaches: boolean;
  /** Anthropic `billing_policy.bill_to`. */
  readonly billTo: string | null;
}

/** Reads one request body. */
export interface RequestReader {
  /** Decoded body bytes, cut anywhere. */
  push(chunk: Uint8Array): void;
  facts(): RequestFacts;
  /** Left out: the model is all that is known. */
  outline?(): RequestOutline;
  /** Estimate from the bytes seen. */
  inputTokens(): number;
}

/** Members that OpenAI-shaped requests have. */
export const OPENAI_REQUEST_PATHS: readonly JsonPath[] = [
  ["model"],
  ["stream"],
  ["max_completion_tokens"],
  ["max_output_tokens"],
  ["max_tokens"],
  ["n"],
  ["background"],
  ["tools", "*", "model"],
];

/** The same of chat and legacy completions, whose streams report usage to those who ask for it. */
export const CHAT_REQUEST_PATHS: readonly JsonPath[] = [...OPENAI_REQUEST_PATHS, ["stream_options", "include_usage"]];

/** Members of requests that wrap a chat request in `request` (Perplexity's async chat). */
export const ASYNC_CHAT_REQUEST_PATHS: readonly JsonPath[] = [["request", "model"]];

/** Members of Anthropic Messages requests. A cache_control deeper than a content block is rare and only moves a hint. */
export const ANTHROPIC_REQUEST_PATHS: readonly JsonPath[] = [
  ["model"],
  ["stream"],
  ["max_tokens"],
  ["billing_policy", "bill_to"],
  ["cache_control"],
  ["system", "*", "cache_control"],
  ["tools", "*", "cache_control"],
  ["messages", "*", "content", "*", "cache_control"],
];

/** A model name, a number, a cache_control object: none is larger. */
const MAX_VALUE_BYTES = 4096;

export function createRequestReader(paths: readonly JsonPath[]): RequestReader {
  const values = new Map<string, unknown>();
  let cacheControls = 0;
  let hourCaches = 0;
  const estimate = createInputEstimate();
  const scan = createJsonScan({
    paths,
    maxValueBytes: MAX_VALUE_BYTES,
    onValue(path, value) {
      if (path.at(-1) !== "cache_control") return void values.set(path.join("."), value);
      const control = asObject(value);
      if (control === undefined) return undefined;
      cacheControls++;
      if (control["ttl"] === "1h") hourCaches++;
    },
  });
  const modelOf = (): string | null => textOf(values.get("model")) ?? textOf(values.get("request.model")) ?? null;
  return {
    push(chunk) {
      estimate.push(chunk);
      scan.push(chunk);
    },
    outline: () => ({
      model: modelOf(),
      isUsageUnlikely: paths === CHAT_REQUEST_PATHS && values.get("stream") === true && values.get("stream_options.include_usage") !== true,
    }),
    facts: () => ({
      model: modelOf(),
      isStream: values.get("stream") === true,
      maxOutputTokens:
        countOf(values.get("max_completion_tokens")) ?? countOf(values.get("max_output_tokens")) ?? countOf(values.get("max_tokens")),
      choiceCount: Math.max(1, countOf(values.get("n")) ?? 1),
      isBackground: values.get("background") === true,
      imageModel: textOf(values.get("tools.*.model")) ?? null,
      hasOnlyHourCaches: cacheControls > 0 && hourCaches === cacheControls,
      billTo: textOf(values.get("billing_policy.bill_to")) ?? null,
    }),
    inputTokens: () => estimate.tokens(),
  };
}
