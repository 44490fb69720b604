/**
 * What the path of a Bedrock request says (reference/model-usage.md sections 4.2 and 4.3): `/model/ID/VERB`, where ID
 * is a model, an inference profile (`us.`, `eu.`, `apac.`, `global.` …) or an ARN, percent-encoded or, from clients
 * that do not care, as it is. Also how the answer of a model is read, as far as its name tells.
 */

/** The last segment of a path under /model/. */
export type ModelVerb =
  | "invoke"
  | "invoke-with-response-stream"
  | "invoke-with-bidirectional-stream"
  | "converse"
  | "converse-stream"
  | "count-tokens";

export interface ModelPath {
  /** Decoded, otherwise as sent. */
  readonly model: string;
  readonly verb: ModelVerb;
}

/**
 * Shape and charge of an answer of InvokeModel. `opaque`: an ARN that does not name the model (application inference
 * profiles, provisioned, imported and custom models).
 */
export type ModelFamily = "claude" | "embeddings" | "image" | "rerank" | "text" | "opaque";

/** A segment before the id, which gateways may put a prefix before. "custom-model/" in an ARN is none. */
const COLLECTION = "/model/";

/** Undefined: the path is none of a model. */
export function parseModelPath(path: string): ModelPath | undefined {
  const from = path.indexOf(COLLECTION);
  const slash = path.lastIndexOf("/");
  const verb = path.slice(slash + 1);
  const id = path.slice(from + COLLECTION.length, slash);
  return from !== -1 && slash > from + COLLECTION.length && isVerb(verb) ? { model: decoded(id), verb } : undefined;
}

/** By the name alone. */
export function familyOf(model: string): ModelFamily {
  const name = model.slice(model.lastIndexOf("/") + 1).toLowerCase();
  if (name.includes("claude")) return "claude";
  if (name.includes("embed")) return "embeddings";
  if (name.includes("rerank")) return "rerank";
  if (IMAGE_MODEL.test(name)) return "image";
  return VENDOR.test(name) ? "text" : "opaque";
}

/** Provisioned throughput is paid by the hour. */
export function isProvisioned(model: string): boolean {
  return model.includes(":provisioned-model/");
}

/** Models of OpenAI, also behind an inference profile. */
export function isOpenAiModel(model: string): boolean {
  return OPENAI_MODEL.test(model.slice(model.lastIndexOf("/") + 1));
}

const IMAGE_MODEL = /stability\.|titan-image|nova-canvas/;

/** "meta.", "us.meta.": ids of applications, deployments and imports have no dot. */
const VENDOR = /^[a-z0-9-]+\.[a-z]/;

const OPENAI_MODEL = /^(?:[a-z-]+\.)?openai\./;

const VERBS: ReadonlySet<string> = new Set<ModelVerb>([
  "invoke",
  "invoke-with-response-stream",
  "invoke-with-bidirectional-stream",
  "converse",
  "converse-stream",
  "count-tokens",
]);

function isVerb(text: string): text is ModelVerb {
  return VERBS.has(text);
}

function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    // A stray percent sign: the name as sent is still a name.
    return id;
  }
}
