/** Chat completions with usage as the bench sends and receives them. Every size is exact and the same for every contestant. */

export const JSON_BYTES = 2048;
export const EVENT_BYTES = 300;
export const EVENTS_PER_STREAM = 200;
/** Time between two events of a paced stream. */
export const PACE_MS = 3;
export const DOWNLOAD_BYTES = 50_000_000;

export const SENTENCE = "The proxy relays each byte as it arrives and reads the usage at the end. ";
const MODEL = "gpt-4o-mini-2024-07-18";
const USAGE =
  '{"prompt_tokens":212,"completion_tokens":391,"total_tokens":603,"prompt_tokens_details":{"cached_tokens":128,"audio_tokens":0},' +
  '"completion_tokens_details":{"reasoning_tokens":64,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}';

/** The field of a paced event that holds its time of sending: microseconds of the monotonic clock, this many digits. */
export const STAMP_DIGITS = 16;
export const STAMP_MARK = '"system_fingerprint":"fp_';

/** The JSON of a chat request, about 1 KB. */
export function chatRequestBody(isStream: boolean): string {
  const stream = isStream ? ',"stream":true,"stream_options":{"include_usage":true}' : "";
  const messages = `[{"role":"system","content":"${SENTENCE.repeat(4)}"},{"role":"user","content":"${SENTENCE.repeat(8)}"}]`;
  return `{"model":"gpt-4o-mini","temperature":0.2,"messages":${messages}${stream}}`;
}

/** A chat completion of exactly `bytes` bytes, its text padded, its usage last. */
export function completionBody(bytes: number): Buffer {
  const before =
    `{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"${MODEL}","choices":` +
    '[{"index":0,"message":{"role":"assistant","content":"';
  const after = `","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":${USAGE},"service_tier":"default"}`;
  return Buffer.from(before + filler(bytes - before.length - after.length) + after, "latin1");
}

/** The events of one stream: content of exactly EVENT_BYTES each, then the usage, then `[DONE]`. */
export function streamEvents(): Buffer[] {
  const empty = chunkEvent('[{"index":0,"delta":{"content":""},"finish_reason":null}]', "null");
  const content = (text: string): Buffer => chunkEvent(`[{"index":0,"delta":{"content":"${text}"},"finish_reason":null}]`, "null");
  const events = Array.from({ length: EVENTS_PER_STREAM - 2 }, (_, place) => content(variedText(EVENT_BYTES - empty.length, place)));
  return [...events, chunkEvent("[]", USAGE), Buffer.from("data: [DONE]\n\n")];
}

/** Where the stamp of each event's bytes begins; undefined for an event that has none. */
export function stampOffset(bytes: Buffer): number | undefined {
  const at = bytes.indexOf(STAMP_MARK);
  return at < 0 ? undefined : at + STAMP_MARK.length;
}

function chunkEvent(choices: string, usage: string): Buffer {
  const stamp = `${STAMP_MARK}${"0".repeat(STAMP_DIGITS)}"`;
  const head = `{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"${MODEL}",${stamp}`;
  return Buffer.from(`data: ${head},"choices":${choices},"usage":${usage}}\n\n`, "latin1");
}

/** Text of exactly so many bytes. */
export function filler(length: number): string {
  return SENTENCE.repeat(Math.ceil(length / SENTENCE.length)).slice(0, length);
}

const WORDS = SENTENCE.split(" ").filter((word) => word !== "");

/** Text of exactly so many bytes, another for each place: what repeats itself costs nothing when it is compressed. */
export function variedText(length: number, place: number): string {
  let text = "";
  for (let state = place + 1; text.length < length; state = (state * 48_271) % 0x7fffffff) text += `${WORDS[state % WORDS.length] ?? ""}${(state % 977).toString(36)} `;
  return text.slice(0, length);
}
