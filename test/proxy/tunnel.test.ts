import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";

import { createTunnelWatches, joinSockets, type TunnelWatches } from "../../src/proxy/tunnel.ts";
import { until } from "../support/until.ts";

const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

/** Two connected sockets; both ends allow half-open. */
async function pair(): Promise<[near: Socket, far: Socket]> {
  const accepted = Promise.withResolvers<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => accepted.resolve(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const far = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  const near = await accepted.promise;
  far.on("error", () => undefined);
  undo.push(() => {
    near.destroy();
    far.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return [near, far];
}

interface Joined {
  readonly client: Socket;
  readonly server: Socket;
  readonly downstream: Socket;
  readonly upstream: Socket;
  readonly reports: [up: number, down: number][];
  clientReceived: string;
  serverReceived: string;
  isClientEnded: boolean;
  isServerEnded: boolean;
}

async function join(watches: TunnelWatches = createTunnelWatches()): Promise<Joined> {
  undo.push(() => [watches.whole, watches.halfClosed].forEach((watch) => watch.close()));
  const [downstream, client] = await pair();
  const [upstream, server] = await pair();
  const joined: Joined = { client, server, downstream, upstream, reports: [], clientReceived: "", serverReceived: "", isClientEnded: false, isServerEnded: false };
  client.on("data", (chunk: Buffer) => (joined.clientReceived += chunk.toString("latin1"))).on("end", () => (joined.isClientEnded = true));
  server.on("data", (chunk: Buffer) => (joined.serverReceived += chunk.toString("latin1"))).on("end", () => (joined.isServerEnded = true));
  joinSockets(downstream, upstream, watches, (up, down) => void joined.reports.push([up, down]));
  return joined;
}

describe("joinSockets", () => {
  it("passes bytes both ways and reports how many when both sides are closed", async () => {
    const joined = await join();
    joined.client.write("question");
    await until(() => joined.serverReceived === "question", "the question");
    joined.server.write("the answer");
    await until(() => joined.clientReceived === "the answer", "the answer");
    expect(joined.reports).toEqual([]);
    joined.client.end("!");
    await until(() => joined.isServerEnded, "the end to reach the server");
    joined.server.end();
    await until(() => joined.reports.length === 1, "the report");
    expect(joined.reports).toEqual([[9, 10]]);
    expect([joined.downstream.closed, joined.upstream.closed]).toEqual([true, true]);
  });

  it.each([
    ["client", "server"],
    ["server", "client"],
  ] as const)("lets the other side talk on when the %s has said all", async (first, second) => {
    const joined = await join();
    joined[first].end("done");
    await until(() => joined[`${second}Received`] === "done" && (second === "server" ? joined.isServerEnded : joined.isClientEnded), "the end");
    joined[second].write("more ");
    await until(() => joined[`${first}Received`] === "more ", "what comes after the end");
    joined[second].end("and all");
    await until(() => joined[`${first}Received`] === "more and all" && joined.reports.length === 1, "the rest and the report");
    expect(joined.reports).toEqual([first === "client" ? [4, 12] : [12, 4]]);
  });

  it.each(["client", "server"] as const)("resets the other side when the %s resets", async (side) => {
    const joined = await join();
    const other = side === "client" ? joined.server : joined.client;
    const errors: unknown[] = [];
    other.on("error", (error) => errors.push(error));
    joined[side].write("before");
    await until(() => joined.serverReceived + joined.clientReceived === "before", "what was said before");
    joined[side].resetAndDestroy();
    await until(() => joined.reports.length === 1 && other.closed, "the other side to see it");
    expect(errors).toMatchObject([{ code: "ECONNRESET" }]);
    expect([joined.isClientEnded, joined.isServerEnded]).toEqual([false, false]);
    expect([joined.downstream.closed, joined.upstream.closed]).toEqual([true, true]);
  });

  it("holds the sender back while the receiver does not read", async () => {
    const joined = await join();
    joined.client.pause();
    const chunk = Buffer.alloc(64 * 1024, 0x61);
    const total = 64 * 1024 * 1024;
    let sent = 0;
    const pump = (): void => {
      while (sent < total) {
        sent += chunk.length;
        if (!joined.server.write(chunk)) {
          joined.server.once("drain", pump);
          return;
        }
      }
    };
    pump();
    let last = -1;
    await until(async () => {
      const before = last;
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return before === sent;
    }, "the sender to be held back");
    expect(sent).toBeLessThan(total);
    expect(joined.upstream.readableLength + joined.downstream.writableLength).toBeLessThan(1024 * 1024);
    joined.client.removeAllListeners("data");
    let read = 0;
    joined.client.on("data", (part: Buffer) => (read += part.length)).resume();
    await until(() => read === total, "the rest to flow");
  });

  it("closes both sides when nothing has passed for the idle time, and not before", async () => {
    const joined = await join(createTunnelWatches(300, 3_600_000));
    const closed = (): boolean => joined.downstream.destroyed && joined.upstream.destroyed;
    for (let sent = 1; sent <= 8; sent += 1) {
      joined.client.write("x");
      await until(() => joined.serverReceived.length === sent, "the byte");
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(closed()).toBe(false);
    }
    await until(closed, "the tunnel to be closed");
    await until(() => joined.reports.length === 1, "the report");
  });

  it("closes what one side has left half open", async () => {
    const joined = await join(createTunnelWatches(3_600_000, 50));
    joined.client.end();
    await until(() => joined.isServerEnded, "the end to reach the server");
    await until(() => joined.downstream.destroyed && joined.upstream.destroyed, "the tunnel to be closed");
  });
});
