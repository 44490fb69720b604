/**
 * Counts one search or fetch of Ollama's cloud (`ollama` 0.6.4, webSearch and webFetch; reference/model-usage.md
 * section 5.16): every answer is one, and says nothing of its cost.
 */

import type { UnitCategory } from "../../categories.ts";
import type { Reader } from "../../handler.ts";
import { freeReading } from "./reading.ts";

/** The reader of one POST. It needs nothing of the body. */
export function createOllamaWebReader(unit: UnitCategory, priceHints: Readonly<Record<string, string>>): Reader {
  let status: number | undefined;
  return {
    response(head) {
      status = head.status;
    },
    push() {
      // The answer is found text.
    },
    end({ kind }) {
      if (status === undefined) return [freeReading("no_response", {})];
      if (status < 200 || status >= 300) return [freeReading("error_status", {})];
      return [
        {
          kind: "measured",
          completeness: kind === "complete" ? "complete" : "partial",
          source: "provider",
          usage: { [unit]: 1 },
          requestModel: null,
          responseModel: null,
          responseId: null,
          serviceTier: null,
          streamed: false,
          priceHints,
        },
      ];
    },
  };
}
