import { afterEach, describe, expect, it } from "vitest";

import { createIdleWatch, type IdleWatch } from "../../src/proxy/idle-watch.ts";
import { until } from "../support/until.ts";

let idle: IdleWatch | undefined;
afterEach(() => idle?.close());

function watch(idleMs: number): { ticket: ReturnType<IdleWatch["watch"]>; calls: () => number } {
  idle = createIdleWatch(idleMs);
  let calls = 0;
  const ticket = idle.watch({ onIdle: () => void (calls += 1) });
  return { ticket, calls: () => calls };
}

describe("an idle watch", () => {
  it("ends what does not move, once", async () => {
    const { calls } = watch(40);
    await until(() => calls() === 1, "the end");
    expect(idle?.size).toBe(0);
  });

  it("leaves alone what is stopped or paused, and takes up again what is resumed", async () => {
    const { ticket, calls } = watch(40);
    ticket.pause();
    ticket.touch();
    const other = idle!.watch({ onIdle: () => undefined });
    other.stop();
    let sweeps = 0;
    const third = idle!.watch({ onIdle: () => void (sweeps += 1) });
    await until(() => sweeps === 1, "the bound to pass");
    third.stop();
    expect(calls()).toBe(0);
    ticket.resume();
    await until(() => calls() === 1, "the end");
  });
});
