import { describe, expect, it } from "vitest";

import type { Reading } from "../../../../src/usage/handler.ts";
import type { ConnectorDefinition, Hook, Route } from "../../../../src/usage/providers/connectors/definition.ts";
import { compileConnectors } from "../../../../src/usage/providers/connectors/interpreter/compile-connectors.ts";
import { createReplayJobs } from "../../../../src/usage/replay.ts";
import { toy } from "./toy.ts";

const context = { isEstimateAllowed: true, jobs: createReplayJobs() };

function withHook(hook: Hook, route: Partial<Route> = {}): ConnectorDefinition {
  return { ...toy, hooks: { "toy.hook": hook }, routes: [{ id: "hooked", method: ["GET", "POST"], path: "/v1/hooked", hook: "toy.hook", ...route }] };
}

function run(definition: ConnectorDefinition, body: string, { status = 200, requestBody = "", headers = [] as readonly string[] } = {}): readonly Reading[] {
  const { reader } = compileConnectors([definition]).open({ host: "api.toy.example", port: 443, protocol: "http", method: "POST", path: "/v1/hooked", query: "q=secret", headers }, context);
  reader?.requestData?.(Buffer.from(requestBody));
  reader?.requestEnd?.();
  reader?.response({ status, statusText: "", headers: [] });
  reader?.push(Buffer.from(body));
  return reader?.end({ kind: "complete" }) ?? [];
}

describe("a hook", () => {
  it("counts beside the meters, sets facts, and sees the request and what its probes found", () => {
    const hook: Hook = {
      probes: ["data.kind"],
      onSuccess(c) {
        c.emit("posts.create", c.requestBody().form?.get("text") === "hi" ? 1 : 0);
        c.emit("posts.length", c.requestBody().totalBytes, { isEstimated: true });
        c.emit("Not A Category", 1);
        c.emit("posts.negative", -1);
        c.setDim("kind", String(c.probe("data.kind")));
        c.setDim("text", "has spaces in it");
      },
    };
    const definition = withHook(hook, { meters: [{ category: "things.read", count: 1 }], request: { maxBytes: 100 } });
    const readings = run(definition, '{"data":{"kind":"reply"}}', { requestBody: "text=hi", headers: ["content-type", "application/x-www-form-urlencoded"] });
    expect(readings).toEqual([
      { kind: "measured", completeness: "complete", source: "estimate", route: "hooked", connectorUsage: { "things.read": 1, "posts.create": 1, "posts.length": 7 }, dims: { kind: "reply" } },
    ]);
  });

  it("that throws makes its exchange unmeasured", () => {
    const hook: Hook = {
      onSuccess() {
        throw new Error("text of the body");
      },
    };
    expect(run(withHook(hook, { meters: [{ category: "things.read", count: 1 }] }), "{}")).toEqual([{ kind: "unmeasured", reason: "hook_fault", route: "hooked" }]);
  });

  it("that throws tells the meter, which logs where and not what", () => {
    const faults: unknown[] = [];
    const definition = withHook({ onSuccess: () => expect.fail("no") });
    const info = { host: "api.toy.example", port: 443, protocol: "http", method: "GET", path: "/v1/hooked", query: "", headers: [] } as const;
    const { reader } = compileConnectors([definition]).open(info, { ...context, onFault: (error) => void faults.push(error) });
    reader?.response({ status: 200, statusText: "", headers: [] });
    reader?.end({ kind: "complete" });
    expect(faults).toHaveLength(1);
  });

  it("that throws in a stream loses one record", () => {
    let records = 0;
    const hook: Hook = {
      onRecord(c) {
        if (++records === 2) throw new Error("no");
        c.emit("things.seen", 1);
      },
    };
    expect(run(withHook(hook, { body: "ndjson" }), "{}\n{}\n{}\n")).toEqual([
      { kind: "measured", completeness: "partial", source: "provider", route: "hooked", connectorUsage: { "things.seen": 2 } },
    ]);
  });

  it("is told of a failure, of which nothing counts", () => {
    const seen: unknown[] = [];
    const hook: Hook = {
      probes: ["error.reason"],
      onFailure(c) {
        seen.push(c.status, c.probe("error.reason"));
        c.emit("things.read", 1);
        c.setDim("error_reason", "quotaExceeded");
      },
    };
    expect(run(withHook(hook), '{"error":{"reason":"x"}}', { status: 403 })).toEqual([{ kind: "free", reason: "error_status", route: "hooked", dims: { error_reason: "quotaExceeded" } }]);
    expect(seen).toEqual([403, "x"]);
  });

  it("remembers over exchanges, by account", () => {
    const hook: Hook = {
      onSuccess(c) {
        const before = c.state.get(c.account);
        c.emit("things.again", typeof before === "number" ? before : 0);
        c.state.set(c.account, (typeof before === "number" ? before : 0) + 1, 1000);
      },
    };
    let now = 0;
    const handler = compileConnectors([withHook(hook)], { now: () => now });
    const call = (token: string): readonly Reading[] => {
      const { reader } = handler.open({ host: "api.toy.example", port: 443, protocol: "http", method: "GET", path: "/v1/hooked", query: "", headers: ["Authorization", token] }, context);
      reader?.response({ status: 200, statusText: "", headers: [] });
      return reader?.end({ kind: "complete" }) ?? [];
    };
    expect(call("Bearer a")[0]?.kind).toBe("free");
    expect(call("Bearer a")[0]).toMatchObject({ connectorUsage: { "things.again": 1 } });
    expect(call("Bearer b")[0]?.kind).toBe("free");
    now = 2000;
    expect(call("Bearer a")[0]?.kind).toBe("free");
  });
});

describe("a socket", () => {
  const frames: Hook = {
    onFrame(c, direction, text) {
      if (text === "bad") throw new Error(text);
      if (text.startsWith("of ")) c.setDim("kind", text.slice(3));
      c.emit(`frames.${direction}`, 1);
    },
  };
  const open = (): NonNullable<ReturnType<ReturnType<typeof compileConnectors>["open"]>["socket"]> => {
    const definition = withHook(frames, { body: "frames" });
    const { socket } = compileConnectors([definition]).open({ host: "api.toy.example", port: 443, protocol: "websocket", method: "GET", path: "/v1/hooked", query: "", headers: [] }, context);
    return socket!;
  };

  it("tells what its frames came to at its end, and after 500", () => {
    const socket = open();
    socket.clientMessage({ kind: "text", text: "hello" });
    for (let i = 1; i < 499; i++) expect(socket.serverMessage({ kind: "text", text: "x" })).toEqual([]);
    expect(socket.serverMessage({ kind: "text", text: "x" })).toEqual([
      { kind: "measured", completeness: "complete", source: "provider", route: "hooked", connectorUsage: { "frames.up": 1, "frames.down": 499 } },
    ]);
    expect(socket.serverMessage({ kind: "text", text: "x" })).toEqual([]);
    expect(socket.end({ kind: "client_aborted" })).toMatchObject([{ completeness: "complete", connectorUsage: { "frames.down": 1 } }]);
  });

  it("tells apart what has other facts beside it, of 16 kinds at most", () => {
    const socket = open();
    for (const text of ["of a", "of b", "of a", "plain"]) socket.serverMessage({ kind: "text", text });
    expect(socket.end({ kind: "complete" })).toMatchObject([
      { dims: { kind: "a" }, connectorUsage: { "frames.down": 2 } },
      { dims: { kind: "b" }, connectorUsage: { "frames.down": 1 } },
      { connectorUsage: { "frames.down": 1 } },
    ]);
    const many = open();
    for (let i = 0; i < 100; i++) many.serverMessage({ kind: "text", text: `of k${i}` });
    const readings = many.end({ kind: "complete" });
    expect(readings).toHaveLength(17);
    expect(readings.at(-1)).toEqual({ kind: "measured", completeness: "complete", source: "provider", route: "hooked", connectorUsage: { "frames.down": 84 } });
  });

  it("goes on after a frame on which its hook throws, and says so", () => {
    const socket = open();
    socket.serverMessage({ kind: "text", text: "bad" });
    socket.serverMessage({ kind: "text", text: "good" });
    expect(socket.end({ kind: "complete" })).toMatchObject([{ completeness: "partial", connectorUsage: { "frames.down": 1 } }]);
  });
});
