/** A clock that jumps under the running program, by libfaketime: the wall clock moves, the monotonic one does not. */

import { existsSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { apiClient, CALLS } from "../support/api-client.ts";
import { asModelEvent, openStage, settled, type Stage } from "../support/stage.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { until } from "../support/until.ts";

const LIBRARIES = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((folder) => `/usr/lib/${folder}/faketime/libfaketime.so.1`);
const LIBRARY = LIBRARIES.find((file) => existsSync(file));
const HOUR_S = 3600;

let stage: Stage;
/** Knows no secret: a signature's time is that of the moved clock. */
let receiver: Receiver;
let isFailing = false;
beforeEach(async () => {
  isFailing = false;
  stage = await openStage();
  receiver = await startReceiver({ answer: () => ({ status: isFailing ? 503 : 204 }) });
});
afterEach(async () => {
  await stage?.close();
  await receiver?.close();
});

describe.skipIf(LIBRARY === undefined)("a clock that jumps", () => {
  // Certificates of the stage are good for a day on both sides of now.
  it.each([["ahead", 20], ["back", -20]])("%s under way changes no traffic, no count and no duration, and delivery goes on", async (_, hours) => {
    const offset = join(stage.dir, "offset");
    const move = async (seconds: number): Promise<void> => {
      await writeFile(`${offset}.new`, `${seconds < 0 ? "" : "+"}${seconds}s`);
      await rename(`${offset}.new`, offset);
    };
    await move(0);
    const program = await stage.start({
      LD_PRELOAD: LIBRARY,
      FAKETIME_TIMESTAMP_FILE: offset,
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      FAKETIME_NO_CACHE: "1",
      TALLYMAN_WEBHOOK_URL: receiver.url,
      TALLYMAN_WEBHOOK_SECRET: undefined,
    });
    const api = apiClient(program);
    isFailing = true;
    await api.call(CALLS.message, { thread: "before" });
    await until(() => receiver.requests.length > 0, "a post that fails");

    let isMoved = false;
    let moving: Promise<void> | undefined;
    await api.call(CALLS.messageStream, {
      thread: "during",
      simulate: "events=20,delay=10",
      onText: () => {
        if (isMoved) return;
        isMoved = true;
        moving = move(hours * HOUR_S);
      },
    });
    await moving;
    await api.call(CALLS.chat, { thread: "after" });
    isFailing = false;
    await until(() => receiver.events().length >= 3, "every event", 120_000);
    await settled(program);
    await api.close();

    const events = receiver.events().map(asModelEvent);
    expect(new Set(events.map(({ data }) => data.thread_id))).toEqual(new Set(["before", "during", "after"]));
    expect(new Set(events.map(({ id }) => id)).size).toBe(3);
    for (const { data } of events) {
      expect(data.completeness).toBe("complete");
      expect(data.latency_ms).toBeGreaterThanOrEqual(0);
      expect(data.latency_ms).toBeLessThan(60_000);
    }
    const after = events.find(({ data }) => data.thread_id === "after");
    expect(Math.abs(Date.parse(after?.time ?? "") - Date.now() - hours * HOUR_S * 1000)).toBeLessThan(600_000);
    expect(await program.stop()).toBe(0);
  }, 180_000);
});
