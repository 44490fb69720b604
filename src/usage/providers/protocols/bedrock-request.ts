/**
 * What the request of a Bedrock model says that its answer does not. The model stands in the path; limits have a name
 * of their own in each vendor's format (AWS user guide, "Inference request parameters"; Converse: the types of
 * `@aws-sdk/client-bedrock-runtime` 3.1163.0).
 */

import { createInputEstimate } from "../../estimate/input-estimate.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import { countOf } from "./json-values.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestFacts, RequestReader } from "./request-facts.ts";

export interface BedrockRequest {
  readonly model: string;
  /** The path asks for a stream. */
  readonly isStream: boolean;
}

export interface BedrockRequestReader extends RequestReader {
  /** Documents to rank. */
  readonly documents: number;
}

const REQUEST_PATHS: readonly JsonPath[] = [
  ["max_tokens"],
  ["max_completion_tokens"],
  ["maxTokens"],
  ["max_gen_len"],
  ["inferenceConfig", "maxTokens"],
  ["inferenceConfig", "max_new_tokens"],
  ["textGenerationConfig", "maxTokenCount"],
];

const RERANK_PATHS: readonly JsonPath[] = [["documents", "*"]];

/** A limit is a number; of a document only that it is there matters. */
const MAX_VALUE_BYTES = 32;

/** Facts of an empty request: every default. */
const DEFAULTS = createRequestReader([]).facts();

export function createBedrockRequestReader(request: BedrockRequest): BedrockRequestReader {
  return readerOf(request, REQUEST_PATHS);
}

/** Of a model that ranks: its documents are counted. */
export function createRerankRequestReader(request: BedrockRequest): BedrockRequestReader {
  return readerOf(request, RERANK_PATHS);
}

function readerOf(request: BedrockRequest, paths: readonly JsonPath[]): BedrockRequestReader {
  let documents = 0;
  let maxOutputTokens: number | undefined;
  const estimate = createInputEstimate();
  const take = (path: JsonPath, value: unknown): void => {
    if (path[0] === "documents") documents++;
    else maxOutputTokens = countOf(value) ?? maxOutputTokens;
  };
  const scan = createJsonScan({ paths, maxValueBytes: MAX_VALUE_BYTES, onValue: take, onOversize: (path) => take(path, undefined) });
  return {
    push(chunk) {
      estimate.push(chunk);
      scan.push(chunk);
    },
    facts: (): RequestFacts => ({ ...DEFAULTS, ...request, maxOutputTokens }),
    inputTokens: () => estimate.tokens(),
    get documents() {
      return documents;
    },
  };
}
