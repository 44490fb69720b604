/** What every sink is held to (src/usage/delivery/sink.ts). A sink's test calls this and adds what is its own. */

import { describe, expect, it, onTestFinished } from "vitest";
import type { Sink, SinkBatch, SinkEvent } from "../../src/usage/delivery/sink.ts";
import { eventBody } from "../store/records.ts";

export interface SinkTarget {
  readonly sink: Sink;
  /** Everything that the target has received so far, whatever it answered: one text for each request, line or message. */
  received(): readonly string[];
  /** For targets that answer with a status: what they answer from now on; "hang" never answers. */
  readonly answer?: (status: number | "hang") => void;
  /** From now on nothing can be delivered, and nobody says why. */
  breakDown(): Promise<void> | void;
  /** Frees the target. The contract closes the sink itself. */
  close(): Promise<void> | void;
}

const TIME_MS = Date.parse("2026-11-21T10:00:00Z");

/** An event as the meter freezes it, with two categories of usage. */
export function sinkEvent(id: string): SinkEvent {
  const data = { org_id: "acme", usage: { input_tokens: 3, output_tokens: 5 }, totals: { input_tokens: 3, output_tokens: 5, total_tokens: 8 } };
  return { id, body: eventBody(id, TIME_MS, data) };
}

/** The batch that delivery would hand over. */
export function sinkBatch(sink: Sink, ids: readonly string[]): SinkBatch {
  const events = ids.map(sinkEvent);
  return { id: `msg_${ids.join("-")}`, createdAtMs: TIME_MS, events, requests: sink.prepare?.(events) ?? [] };
}

/** `makeTarget` gives a new target and a sink that delivers to it. `hasStatuses`: the target answers with statuses, and has `answer`. */
export function sinkContract(name: string, makeTarget: () => Promise<SinkTarget>, { hasStatuses = true }: { readonly hasStatuses?: boolean } = {}): void {
  const never = (): AbortSignal => new AbortController().signal;
  const make = async (): Promise<SinkTarget> => {
    const target = await makeTarget();
    onTestFinished(async () => {
      await target.sink.close();
      await target.close();
    });
    return target;
  };

  describe(`${name} as a sink`, () => {
    it("has a name and limits", async () => {
      const { sink } = await make();
      expect(sink.id).toMatch(/^[a-z0-9-]{1,64}$/);
      expect(sink.limits.maxEvents).toBeGreaterThanOrEqual(1);
      expect(sink.limits.maxBytes).toBeGreaterThanOrEqual(1);
      expect(sink.limits.maxWaitMs).toBeGreaterThanOrEqual(0);
      expect(sink.limits.concurrency).toBeGreaterThanOrEqual(1);
    });

    it("delivers every event of a batch under its id", async () => {
      const target = await make();
      expect(await target.sink.send(sinkBatch(target.sink, ["a-1", "a-2", "a-3"]), never())).toEqual({ kind: "delivered" });
      const seen = target.received().join("\n");
      for (const id of ["a-1", "a-2", "a-3"]) expect(seen).toContain(id);
    });

    it("makes the same requests of the same events each time, under keys that no two share", async () => {
      const { sink } = await make();
      const events = ["a-1", "a-2"].map(sinkEvent);
      const requests = sink.prepare?.(events) ?? [];
      expect(sink.prepare?.(events) ?? []).toEqual(requests);
      expect(new Set(requests.map(({ key }) => key)).size).toBe(requests.length);
    });

    it("sends the same bytes at every attempt", async () => {
      const target = await make();
      const batch = sinkBatch(target.sink, ["a-1", "a-2"]);
      await target.sink.send(batch, never());
      const first = [...target.received()];
      await target.sink.send(batch, never());
      // Once more, or not at all where the sink knows that the target has it.
      expect([[], first]).toContainEqual(target.received().slice(first.length));
    });

    it("asks for another attempt when the target cannot be reached, and names no address", async () => {
      const target = await make();
      await target.breakDown();
      const verdict = await target.sink.send(sinkBatch(target.sink, ["a-1"]), never());
      expect(verdict).toMatchObject({ kind: "retry", reason: expect.stringMatching(/^[\w ]+$/) });
      if (verdict.kind === "retry") expect(verdict.reason).not.toMatch(/127|localhost|\d{4,}/);
    });

    if (!hasStatuses) return;

    it("judges statuses by the table", async () => {
      const target = await make();
      const answer = answerOf(target);
      const kinds: string[] = [];
      for (const status of [200, 204, 400, 401, 403, 404, 408, 410, 413, 422, 425, 429, 500, 503, 307]) {
        answer(status);
        kinds.push(`${status} ${(await target.sink.send(sinkBatch(target.sink, [`id-${status}`]), never())).kind}`);
      }
      expect(kinds).toEqual([
        "200 delivered", "204 delivered", "400 refused", "401 pause", "403 pause", "404 pause", "408 retry", "410 pause", "413 too_large",
        "422 refused", "425 retry", "429 retry", "500 retry", "503 retry", "307 pause",
      ]);
    });

    it("ends at once when it is told to", async () => {
      const target = await make();
      const answer = answerOf(target);
      answer("hang");
      const abort = new AbortController();
      const verdict = target.sink.send(sinkBatch(target.sink, ["a-1"]), abort.signal);
      abort.abort();
      expect((await verdict).kind).toBe("retry");
    });
  });
}

function answerOf({ answer }: SinkTarget): (status: number | "hang") => void {
  if (answer === undefined) throw new TypeError("a target with statuses has answer()");
  return answer;
}
