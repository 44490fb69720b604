/**
 * Which of OpenAI's encodings a model counts with. Only what OpenAI itself has published is in here: the table of its
 * tokenizer library (tiktoken 0.14.0, model.py), without the models that were switched off. Any other model, a newer
 * one of OpenAI's too, has no encoding here and is estimated.
 */

export type EncodingName = "cl100k_base" | "o200k_base";

/** The first prefix that a name begins with counts. */
const PREFIXES: readonly (readonly [prefix: string, encoding: EncodingName])[] = [
  ["o1-", "o200k_base"],
  ["o3-", "o200k_base"],
  ["o4-mini-", "o200k_base"],
  ["gpt-5", "o200k_base"],
  ["gpt-4.5-", "o200k_base"],
  ["gpt-4.1-", "o200k_base"],
  ["chatgpt-4o-", "o200k_base"],
  ["gpt-4o-", "o200k_base"],
  ["gpt-4-", "cl100k_base"],
  ["gpt-3.5-turbo-", "cl100k_base"],
  // Azure has no dot in it.
  ["gpt-35-turbo-", "cl100k_base"],
  // o200k_harmony there: the same vocabulary, with further special tokens, which are plain text to us.
  ["gpt-oss-", "o200k_base"],
  ["ft:gpt-4o", "o200k_base"],
  ["ft:gpt-4", "cl100k_base"],
  ["ft:gpt-3.5-turbo", "cl100k_base"],
  ["ft:davinci-002", "cl100k_base"],
  ["ft:babbage-002", "cl100k_base"],
];

const NAMES: ReadonlyMap<string, EncodingName> = new Map([
  ["o1", "o200k_base"],
  ["o3", "o200k_base"],
  ["o4-mini", "o200k_base"],
  ["gpt-4.1", "o200k_base"],
  ["gpt-4o", "o200k_base"],
  ["gpt-4", "cl100k_base"],
  ["gpt-3.5", "cl100k_base"],
  ["gpt-3.5-turbo", "cl100k_base"],
  ["gpt-35-turbo", "cl100k_base"],
  ["davinci-002", "cl100k_base"],
  ["babbage-002", "cl100k_base"],
  ["text-embedding-ada-002", "cl100k_base"],
  ["text-embedding-3-small", "cl100k_base"],
  ["text-embedding-3-large", "cl100k_base"],
]);

/** How routers ("openai/gpt-4o") and Bedrock ("openai.gpt-oss-120b-1:0") name OpenAI's models. */
const VENDOR = /^(?:openai|azure)[/.]/;

/** The encoding of a model's text; undefined: not one of OpenAI's, or not known. */
export function encodingOfModel(model: string): EncodingName | undefined {
  const name = model.trim().toLowerCase().replace(VENDOR, "");
  return NAMES.get(name) ?? PREFIXES.find(([prefix]) => name.startsWith(prefix))?.[1];
}
