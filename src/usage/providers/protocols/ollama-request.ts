/** What a request of Ollama's native API says that its response does not. (`ollama` 0.6.4, types of its requests.) */

import { createJsonScan } from "../../extract/json-scan.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import { countOf } from "./json-values.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestReader } from "./request-facts.ts";

const COMMON_PATHS: readonly JsonPath[] = [["model"]];
const OWN_PATHS: readonly JsonPath[] = [["stream"], ["options", "num_predict"]];

/** A switch and a number: none is larger. */
const MAX_VALUE_BYTES = 64;

/** Reads one request body. Answers are streamed unless `stream` is false; `num_predict` below 0 is no limit. */
export function createOllamaRequestReader(): RequestReader {
  const common = createRequestReader(COMMON_PATHS);
  let isStream = true;
  let limit: number | undefined;
  const scan = createJsonScan({
    paths: OWN_PATHS,
    maxValueBytes: MAX_VALUE_BYTES,
    onValue(path, value) {
      if (path[0] === "stream") isStream = value !== false;
      else limit = countOf(value);
    },
  });
  return {
    push(chunk) {
      common.push(chunk);
      scan.push(chunk);
    },
    facts: () => ({ ...common.facts(), isStream, maxOutputTokens: limit }),
    inputTokens: () => common.inputTokens(),
  };
}
