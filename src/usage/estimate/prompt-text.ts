/**
 * What of a request's JSON is text that a model reads: messages, system prompts, tool calls and their results, and
 * the definitions of tools. Goes by the names that the interfaces give to text, not by interface, so that the count of
 * one prompt means the same everywhere. Ids, roles, model names, addresses and base64 are not text.
 */

/** The text of one request. */
export interface PromptText {
  /** In no particular order; each is counted by itself. */
  readonly texts: readonly string[];
  /** Tokens that the request gives as numbers (embeddings, legacy completions). */
  readonly tokenIds: number;
  /** Entries of `messages`, or of an `input` that is a list of objects. */
  readonly messages: number;
}

/** Members whose strings are text, also in lists. */
const TEXT_MEMBERS = new Set(
  (
    "content text refusal thinking reasoning reasoning_content arguments output input prompt suffix system instructions " +
    "message preamble query inputText documents texts title snippet transcript"
  ).split(" "),
);

/** Members that a model is shown as the JSON that they are. */
const JSON_MEMBERS = new Set(["tools", "functions", "toolConfig", "tool_config", "args", "functionResponse", "function_response", "json"]);

/** The same where they are objects, but for the outermost, which are parts of the request. */
const NESTED_JSON_MEMBERS = new Set(["input", "response"]);

/** Members that hold text for somebody else. */
const OTHER_MEMBERS = new Set(["metadata", "response_format", "audio"]);

/** Members whose numbers are tokens. */
const TOKEN_MEMBERS = new Set(["input", "prompt"]);

const MESSAGE_LISTS = new Set(["messages", "input", "contents"]);

interface Place {
  readonly value: unknown;
  /** Of the member that the value is, or is in a list of. */
  readonly name: string;
  /** Objects around it. */
  readonly depth: number;
  /** It is in a list of that name. */
  readonly isItem: boolean;
}

/** Linear in the document; nesting of any depth. Throws where a tool's definition is nested too deep to be written as JSON. */
export function promptTextOf(document: unknown): PromptText {
  const texts: string[] = [];
  let tokenIds = 0;
  let messages = 0;
  const places: Place[] = [{ value: document, name: "", depth: 0, isItem: false }];
  for (let place = places.pop(); place !== undefined; place = places.pop()) {
    const { value, name, depth } = place;
    if (typeof value === "string") {
      if (TEXT_MEMBERS.has(name)) texts.push(value);
    } else if (typeof value === "number") {
      if (TOKEN_MEMBERS.has(name)) tokenIds++;
    } else if (typeof value === "object" && value !== null) {
      if (isShownAsJson(place)) texts.push(JSON.stringify(value));
      else if (Array.isArray(value)) {
        if (depth === 1 && MESSAGE_LISTS.has(name) && isObject(value[0])) messages += value.length;
        for (const item of value) places.push({ value: item, name, depth, isItem: true });
      } else pushMembers(value, depth + 1, places);
    }
  }
  return { texts, tokenIds, messages };
}

function isShownAsJson({ value, name, depth, isItem }: Place): boolean {
  if (JSON_MEMBERS.has(name)) return true;
  return NESTED_JSON_MEMBERS.has(name) && depth > 1 && !isItem && isObject(value);
}

function pushMembers(object: object, depth: number, places: Place[]): void {
  const members = Object.entries(object);
  const isPlainText = "type" in object && object.type === "text";
  for (const [name, value] of members) {
    // Anthropic's documents in plain text: {"type":"text","media_type":"text/plain","data":"…"}.
    if (name === "data" && isPlainText) places.push({ value, name: "text", depth, isItem: false });
    else if (!OTHER_MEMBERS.has(name)) places.push({ value, name, depth, isItem: false });
  }
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
