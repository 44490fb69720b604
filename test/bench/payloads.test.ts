import { describe, expect, it } from "vitest";
import { z } from "zod";
import { requestOf } from "../../bench/exchanges.ts";
import { completionBody, EVENT_BYTES, EVENTS_PER_STREAM, JSON_BYTES, stampOffset, streamEvents } from "../../bench/payloads.ts";

const completion = z.object({ choices: z.array(z.unknown()), usage: z.object({ total_tokens: z.literal(603) }) });

describe("the bench's payloads", () => {
  it("are a completion of the exact size with its usage", () => {
    const body = completionBody(JSON_BYTES);
    expect(body.length).toBe(2048);
    expect(completion.parse(JSON.parse(body.toString())).choices).toHaveLength(1);
  });

  it("are a stream of content events of the exact size, then the usage, then the end", () => {
    const events = streamEvents();
    expect(events).toHaveLength(EVENTS_PER_STREAM);
    for (const event of events.slice(0, -2)) expect(event.length).toBe(EVENT_BYTES);
    const usage = events.at(-2)?.toString() ?? "";
    expect(completion.parse(JSON.parse(usage.slice("data: ".length))).choices).toEqual([]);
    expect(events.at(-1)?.toString()).toBe("data: [DONE]\n\n");
    expect(events.filter((event) => stampOffset(event) !== undefined)).toHaveLength(EVENTS_PER_STREAM - 1);
  });

  it("ask for the stream and its usage, and state their own length", () => {
    const [head = "", body = ""] = requestOf("openai", "api.openai.com").toString().split("\r\n\r\n");
    expect(head).toContain(`Content-Length: ${body.length}`);
    expect(JSON.parse(body)).toMatchObject({ stream: true, stream_options: { include_usage: true } });
  });
});
