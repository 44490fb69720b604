/** Amazon's event stream framing (application/vnd.amazon.eventstream), written: the frames of one ConverseStream answer. */

import { crc32 } from "node:zlib";
import { EVENT_BYTES, EVENTS_PER_STREAM, variedText } from "./payloads.ts";

/** Prelude (two lengths and their CRC) and the CRC of the message. */
const FRAME_BYTES = 16;
/** Header value type 7: a string with a length of two bytes. */
const STRING_TYPE = 7;

/** Text deltas in frames of exactly EVENT_BYTES between those that begin and end the message; the usage comes last. */
export function converseFrames(): Buffer[] {
  const delta = (text: string): Buffer => frame("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"${text}"},"p":"abcdefgh"}`);
  const room = EVENT_BYTES - delta("").length;
  const usage = '"usage":{"inputTokens":212,"outputTokens":391,"totalTokens":603,"cacheReadInputTokens":128,"cacheWriteInputTokens":0}';
  const after = [
    frame("contentBlockStop", '{"contentBlockIndex":0,"p":"abcdefgh"}'),
    frame("messageStop", '{"p":"abcdefgh","stopReason":"end_turn"}'),
    frame("metadata", `{"metrics":{"latencyMs":812},"p":"abcdefgh",${usage}}`),
  ];
  const deltas = Array.from({ length: EVENTS_PER_STREAM - 1 - after.length }, (_, place) => delta(variedText(room, place)));
  return [frame("messageStart", '{"p":"abcdefgh","role":"assistant"}'), ...deltas, ...after];
}

function frame(eventType: string, payload: string): Buffer {
  const headers = Buffer.concat([header(":event-type", eventType), header(":content-type", "application/json"), header(":message-type", "event")]);
  const body = Buffer.from(payload);
  const bytes = Buffer.alloc(FRAME_BYTES + headers.length + body.length);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(headers.length, 4);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 8)), 8);
  headers.copy(bytes, 12);
  body.copy(bytes, 12 + headers.length);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, -4)), bytes.length - 4);
  return bytes;
}

function header(name: string, value: string): Buffer {
  const bytes = Buffer.alloc(1 + name.length + 3 + value.length);
  bytes.writeUInt8(name.length, 0);
  bytes.write(name, 1, "latin1");
  bytes.writeUInt8(STRING_TYPE, 1 + name.length);
  bytes.writeUInt16BE(value.length, 2 + name.length);
  bytes.write(value, 4 + name.length, "latin1");
  return bytes;
}
