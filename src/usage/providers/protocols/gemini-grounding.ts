/**
 * Grounding, which is charged and is not in the usage (reference/model-usage.md section 5.9.3): newer models by the
 * query, older ones by the grounded prompt. Reads members of `candidates[].groundingMetadata`.
 */

import type { ModelUsage } from "../../categories.ts";
import { asArray, textOf } from "./json-values.ts";

export interface Grounding {
  /** A member by its name. A later list replaces an earlier one of that name; an empty one never does. Other names are ignored. */
  value(name: string, value: unknown): void;
  /** What is charged by the piece. */
  units(): ModelUsage;
  /** `grounded: "true"` where a search was made: the fact that older models are charged by. */
  hints(): Readonly<Record<string, string>>;
}

export function createGrounding(): Grounding {
  let webQueries = 0;
  let imageQueries = 0;
  let hasMaps = false;
  return {
    value(name, value) {
      if (name === "webSearchQueries") webQueries = queryCount(value) || webQueries;
      else if (name === "imageSearchQueries") imageQueries = queryCount(value) || imageQueries;
      else if (name === "googleMapsWidgetContextToken" || name === "placeId") hasMaps ||= textOf(value) !== undefined;
    },
    units: () => ({
      ...(webQueries + imageQueries > 0 ? { grounding_queries: webQueries + imageQueries } : {}),
      ...(hasMaps ? { maps_grounding_requests: 1 } : {}),
    }),
    hints: (): Readonly<Record<string, string>> => (webQueries + imageQueries > 0 ? { grounded: "true" } : {}),
  };
}

function queryCount(value: unknown): number {
  return asArray(value).filter((query) => textOf(query) !== undefined).length;
}
