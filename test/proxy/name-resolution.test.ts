import type { LookupAddress } from "node:dns";
import { describe, expect, it } from "vitest";

import { createNameResolver, MAX_RUNNING_LOOKUPS, MAX_WAITING_NAMES, type NameResolver, type ResolveCallback } from "../../src/proxy/name-resolution.ts";

const ONE: readonly LookupAddress[] = [{ address: "192.0.2.1", family: 4 }];
const TWO: readonly LookupAddress[] = [{ address: "192.0.2.2", family: 4 }];

/** A resolver whose lookups end when the test says so. */
function held(): { names: NameResolver; asked: string[]; answer(name: string, error: Error | null, addresses?: readonly LookupAddress[]): void } {
  const pending = new Map<string, ResolveCallback>();
  const asked: string[] = [];
  const names = createNameResolver((name, callback) => {
    asked.push(name);
    expect(pending.has(name)).toBe(false);
    pending.set(name, callback);
  });
  return {
    names,
    asked,
    answer(name, error, addresses = []) {
      const callback = pending.get(name);
      pending.delete(name);
      if (callback === undefined) throw new Error(`nobody asked for ${name}`);
      callback(error, addresses);
    },
  };
}

/** What a caller has heard. */
function listen(names: NameResolver, name: string): { heard: (string | undefined)[]; giveUp: () => void } {
  const heard: (string | undefined)[] = [];
  const giveUp = names.resolve(name, (error, addresses) => void heard.push(error === null ? addresses[0]?.address : error.message));
  return { heard, giveUp };
}

const numbered = (count: number, prefix = "n"): string[] => Array.from({ length: count }, (_value, index) => `${prefix}${index}.example`);

describe("the system's resolver", () => {
  it("gives every address, and only after it has returned", async () => {
    let isReturned = false;
    const addresses = await new Promise<readonly LookupAddress[]>((resolve, reject) => {
      createNameResolver().resolve("localhost", (error, found) => {
        expect(isReturned).toBe(true);
        if (error === null) resolve(found);
        else reject(error);
      });
      isReturned = true;
    });
    expect(addresses).toContainEqual({ address: "127.0.0.1", family: 4 });
  });

  it("tells its own error for a name that does not exist", async () => {
    const outcome = await new Promise<[Error | null, readonly LookupAddress[]]>((resolve) => {
      createNameResolver().resolve("no-such-name.invalid", (...answer) => resolve(answer));
    });
    expect(outcome).toEqual([expect.objectContaining({ code: expect.stringMatching(/^(ENOTFOUND|EAI_)/) }), []]);
  });
});

describe("lookups of one name", () => {
  it("are shared while one is under way, by its answer and by its error", () => {
    const { names, asked, answer } = held();
    const callers = [listen(names, "a.example"), listen(names, "a.example"), listen(names, "a.example")];
    expect(asked).toEqual(["a.example"]);
    answer("a.example", null, ONE);
    expect(callers.map(({ heard }) => heard)).toEqual([["192.0.2.1"], ["192.0.2.1"], ["192.0.2.1"]]);
    const failed = [listen(names, "b.example"), listen(names, "b.example")];
    answer("b.example", new Error("gone"));
    expect(failed.map(({ heard }) => heard)).toEqual([["gone"], ["gone"]]);
    expect([names.running, names.waiting]).toEqual([0, 0]);
  });

  it("are made anew when the last has ended: no answer is kept", () => {
    const { names, asked, answer } = held();
    const first = listen(names, "a.example");
    answer("a.example", null, ONE);
    const second = listen(names, "a.example");
    answer("a.example", null, TWO);
    expect([first.heard, second.heard]).toEqual([["192.0.2.1"], ["192.0.2.2"]]);
    expect(asked).toHaveLength(2);
  });

  it("leave out who has given up, also in the middle of an answer", () => {
    const { names, answer } = held();
    const first = listen(names, "a.example");
    let giveUpThird = (): void => undefined;
    const second: string[] = [];
    names.resolve("a.example", () => {
      second.push("called");
      giveUpThird();
    });
    const third = listen(names, "a.example");
    giveUpThird = third.giveUp;
    first.giveUp();
    answer("a.example", null, ONE);
    expect([first.heard, second, third.heard]).toEqual([[], ["called"], []]);
  });

  it("keep their place when everybody has given up, and serve who comes before they end", () => {
    const { names, asked, answer } = held();
    const first = listen(names, "a.example");
    first.giveUp();
    expect(names.running).toBe(1);
    const second = listen(names, "a.example");
    first.giveUp();
    answer("a.example", null, ONE);
    expect([first.heard, second.heard, asked.length, names.running]).toEqual([[], ["192.0.2.1"], 1, 0]);
  });

  it("let a callback ask for the same name again", () => {
    const { names, asked, answer } = held();
    const again: (string | undefined)[] = [];
    names.resolve("a.example", () => {
      names.resolve("a.example", (_error, addresses) => void again.push(addresses[0]?.address));
    });
    answer("a.example", null, ONE);
    expect(again).toEqual([]);
    answer("a.example", null, TWO);
    expect([again, asked.length]).toEqual([["192.0.2.2"], 2]);
  });
});

describe("the bounds", () => {
  it("let so many run, and start the others in their order as places come free", () => {
    const { names, asked, answer } = held();
    const all = numbered(MAX_RUNNING_LOOKUPS + 2);
    const callers = all.map((name) => listen(names, name));
    const joined = listen(names, all.at(-1)!);
    expect(asked).toEqual(all.slice(0, MAX_RUNNING_LOOKUPS));
    expect([names.running, names.waiting]).toEqual([MAX_RUNNING_LOOKUPS, 2]);
    answer(all[3]!, null, ONE);
    expect(asked.at(-1)).toBe(all[MAX_RUNNING_LOOKUPS]);
    answer(all[5]!, new Error("gone"));
    expect(asked.at(-1)).toBe(all[MAX_RUNNING_LOOKUPS + 1]);
    answer(all.at(-1)!, null, TWO);
    expect([callers.at(-1)?.heard, joined.heard]).toEqual([["192.0.2.2"], ["192.0.2.2"]]);
    expect([names.running, names.waiting]).toEqual([MAX_RUNNING_LOOKUPS - 1, 0]);
  });

  it("refuse a name when the queue is full, but not one that is already looked up", async () => {
    const { names } = held();
    const all = numbered(MAX_RUNNING_LOOKUPS + MAX_WAITING_NAMES);
    for (const name of all) listen(names, name);
    expect([names.running, names.waiting]).toEqual([MAX_RUNNING_LOOKUPS, MAX_WAITING_NAMES]);
    const known = [listen(names, all[0]!), listen(names, all.at(-1)!)];
    const gone = listen(names, "gone.example");
    gone.giveUp();
    let isReturned = false;
    const error = await new Promise<Error | null>((resolve) => {
      names.resolve("more.example", (refused) => {
        expect(isReturned).toBe(true);
        resolve(refused);
      });
      isReturned = true;
    });
    expect(error).toMatchObject({ name: "ProxyError", code: "upstream_dns", message: expect.stringContaining("too many names") });
    expect([known.map(({ heard }) => heard), gone.heard]).toEqual([[[], []], []]);
    expect(names.waiting).toBe(MAX_WAITING_NAMES);
  });

  it("give the place in the queue back when the last caller of a name gives up", () => {
    const { names, asked, answer } = held();
    const running = numbered(MAX_RUNNING_LOOKUPS);
    for (const name of running) listen(names, name);
    const [first, second] = [listen(names, "late.example"), listen(names, "late.example")];
    const next = listen(names, "next.example");
    first.giveUp();
    expect(names.waiting).toBe(2);
    second.giveUp();
    second.giveUp();
    expect(names.waiting).toBe(1);
    answer(running[0]!, null, ONE);
    expect(asked).not.toContain("late.example");
    answer("next.example", null, TWO);
    expect([first.heard, second.heard, next.heard]).toEqual([[], [], ["192.0.2.2"]]);
  });

  it("do not take a later caller of the same name out with one that gave up twice", () => {
    const { names } = held();
    for (const name of numbered(MAX_RUNNING_LOOKUPS)) listen(names, name);
    const early = listen(names, "late.example");
    early.giveUp();
    listen(names, "late.example");
    early.giveUp();
    expect(names.waiting).toBe(1);
  });
});
