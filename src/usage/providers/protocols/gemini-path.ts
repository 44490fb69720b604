/** Takes apart a path of Google's generative APIs: ".../collection/name:verb" (reference/model-usage.md sections 4.2, 4.3). */

import { bareModel } from "./gemini-request.ts";
import { trimTrailingSlashes } from "./request-path.ts";

export interface GeminiPath {
  /** Of "v1beta/models/m:generateContent": "generateContent"; undefined: none. */
  readonly verb: string | undefined;
  /** "m": the last segment, without the verb. */
  readonly last: string;
  /** "models" */
  readonly parent: string;
  readonly grandparent: string;
  /**
   * The model that the path names: of "publishers/google/models/m" just "m"; tuned models and endpoints keep their
   * collection, as their names say nothing of a model. Of "models/m/operations/o" it is "m".
   */
  readonly model: string | null;
}

/** A longer segment is no model, verb or id. */
const MAX_SEGMENT_CHARS = 1024;

/** `path` as sent, without the query. */
export function geminiPath(path: string): GeminiPath {
  const segments = trimTrailingSlashes(path).split("/").slice(-5).map(decodeSegment);
  const name = segments.at(-1) ?? "";
  const colon = name.lastIndexOf(":");
  const last = colon === -1 ? name : name.slice(0, colon);
  const parent = segments.at(-2) ?? "";
  return {
    verb: colon === -1 ? undefined : name.slice(colon + 1),
    last,
    parent,
    grandparent: segments.at(-3) ?? "",
    model: modelOf(parent === "operations" ? (segments.at(-4) ?? "") : parent, parent === "operations" ? (segments.at(-3) ?? "") : last),
  };
}

function modelOf(collection: string, name: string): string | null {
  if (name === "") return null;
  if (collection === "models") return bareModel(name) ?? null;
  if (collection === "tunedModels" || collection === "endpoints") return `${collection}/${name}`;
  // "models%2Fm": the collection was encoded with the name.
  return name.startsWith("models/") ? (bareModel(name) ?? null) : null;
}

function decodeSegment(segment: string): string {
  if (segment.length > MAX_SEGMENT_CHARS || !segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    // Not percent-encoded text: it is a name as it stands.
    return segment;
  }
}
