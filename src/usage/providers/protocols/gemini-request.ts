/**
 * What a request to Google's APIs says that its answer does not. The model stands in the path, limits in a
 * configuration object (types of @google/genai 3.1.0; JSON of Google's APIs may spell a name in camel or snake case).
 */

import { createInputEstimate } from "../../estimate/input-estimate.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import { countOf, textOf } from "./json-values.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestFacts, RequestReader } from "./request-facts.ts";

export interface GeminiRequest extends RequestReader {
  /** `parameters.durationSeconds` of a video request. */
  videoSeconds(): number | undefined;
}

export interface GeminiRequestOptions {
  /** The model that the path names. */
  readonly model: string | null;
  /** The verb asks for a stream; else a member `stream` may. */
  readonly isStream?: boolean;
}

const PATHS: readonly JsonPath[] = [
  ["model"],
  ["agent"],
  ["stream"],
  ["background"],
  ["generationConfig", "maxOutputTokens"],
  ["generationConfig", "candidateCount"],
  ["generation_config", "max_output_tokens"],
  ["generation_config", "candidate_count"],
  // Code Assist wraps the request.
  ["request", "generationConfig", "maxOutputTokens"],
  ["request", "generationConfig", "candidateCount"],
  ["parameters", "durationSeconds"],
];

/** A model name or a number: none is larger. */
const MAX_VALUE_BYTES = 1024;

/** Facts of a request that says nothing. */
const NOTHING_SAID: RequestFacts = createRequestReader([["model"]]).facts();

export function createGeminiRequest(options: GeminiRequestOptions): GeminiRequest {
  const values = new Map<string, unknown>();
  const estimate = createInputEstimate();
  const scan = createJsonScan({ paths: PATHS, maxValueBytes: MAX_VALUE_BYTES, onValue: (path, value) => void values.set(path.at(-1) ?? "", value) });
  return {
    push(chunk) {
      estimate.push(chunk);
      scan.push(chunk);
    },
    facts: () => ({
      ...NOTHING_SAID,
      model: options.model ?? bareModel(values.get("model")) ?? textOf(values.get("agent")) ?? null,
      isStream: options.isStream === true || values.get("stream") === true,
      maxOutputTokens: countOf(values.get("maxOutputTokens")) ?? countOf(values.get("max_output_tokens")),
      choiceCount: Math.max(1, countOf(values.get("candidateCount")) ?? countOf(values.get("candidate_count")) ?? 1),
      isBackground: values.get("background") === true,
    }),
    inputTokens: () => estimate.tokens(),
    videoSeconds: () => countOf(values.get("durationSeconds")),
  };
}

const COLLECTION = "models/";

/** A model without the collection that it stands in: "models/m", "projects/p/locations/l/publishers/google/models/m". */
export function bareModel(name: unknown): string | undefined {
  const text = textOf(name);
  if (text === undefined) return undefined;
  const at = text.lastIndexOf(COLLECTION);
  return at === 0 || text[at - 1] === "/" ? textOf(text.slice(at + COLLECTION.length)) : text;
}
