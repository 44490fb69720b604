/** A drain while the receiver is down, and what the pending file says until the end and after it. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";

import { apiClient, CALLS, type ApiClient } from "../support/api-client.ts";
import type { Program } from "../support/program.ts";
import type { ProgrammedAnswer } from "../support/receiver.ts";
import { messageEvents } from "../support/scripted-upstream.ts";
import { GATEWAY, ledgerOf, openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

interface Pending {
  readonly pid: number;
  readonly flows: number;
  readonly buffered: number;
  readonly reports: number;
}

const open: { stage?: Stage; clients: ApiClient[] } = { clients: [] };
afterEach(async () => {
  await Promise.all(open.clients.splice(0).map((client) => client.close()));
  await open.stage?.close();
});

async function stageWith(answer: () => ProgrammedAnswer | "reset"): Promise<{ stage: Stage; file: string; pending: () => Promise<Pending> }> {
  const stage = await openStage(answer);
  open.stage = stage;
  const file = join(stage.dir, "pending.json");
  return { stage, file, pending: async (): Promise<Pending> => JSON.parse(await readFile(file, "utf8")) };
}

function clientOf(program: Program): ApiClient {
  const client = apiClient(program);
  open.clients.push(client);
  return client;
}

/** A stream that has begun and ends when the test says so. */
async function beginStream(stage: Stage, client: ApiClient): Promise<{ finish(): void; readonly ended: Promise<unknown> }> {
  let seen = "";
  const ended = client.call({ ...CALLS.messageStream, url: `https://${GATEWAY}/v1/messages` }, { onText: (text) => void (seen = text) }).catch(() => undefined);
  const { response } = await stage.gateway.next();
  const [start = "", ...rest] = messageEvents("msg_held");
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(start);
  await until(() => seen === start, "the stream to begin");
  return { ended, finish: () => void response.end(rest.join("")) };
}

const WAYS: Readonly<Record<string, (program: Program) => void>> = {
  SIGTERM: (program) => program.signal("SIGTERM"),
  SIGINT: (program) => program.signal("SIGINT"),
  "POST /drain": (program) => void fetch(`${program.adminUrl}/drain`, { method: "POST" }).catch(() => undefined),
};

describe("a drain while the receiver is down", () => {
  it.each(Object.keys(WAYS))("by %s lets flows finish, exits 0, and leaves the rest to the next start; the pending file never says that nothing is left", async (way) => {
    let isUp = false;
    const { stage, file, pending } = await stageWith(() => (isUp ? { status: 204 } : { status: 503 }));
    const program = await stage.start({ TALLYMAN_PENDING_FILE: file, TALLYMAN_DRAIN_TIMEOUT: "3s" });
    const client = clientOf(program);
    await client.call(CALLS.chat);
    await client.call(CALLS.message);
    const { finish, ended } = await beginStream(stage, client);
    await until(async () => (await pending()).flows === 1, "the file to show the flow");
    WAYS[way]?.(program);
    const seen: Pending[] = [];
    const watching = (async (): Promise<void> => {
      while (program.exitCode === undefined) {
        seen.push(await pending());
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    finish();
    await ended;
    expect(await program.exited()).toBe(0);
    await watching;
    expect(seen.filter(({ flows, buffered, reports }) => flows + buffered + reports === 0)).toEqual([]);
    expect(await pending()).toMatchObject({ pid: program.pid, flows: 0, buffered: 0, reports: 3 });
    expect(program.stderr).toContain("stopped with work left");
    isUp = true;
    const next = await stage.start();
    await settled(next);
    expect(new Set(stage.received().map(({ id }) => id)).size).toBe(3);
    expect((await ledgerOf(next)).map(({ delivery }) => delivery)).toEqual(["delivered", "delivered", "delivered"]);
    expect(await next.stop()).toBe(0);
  });

  it("does not wait for one that refuses everything", async () => {
    const { stage, file, pending } = await stageWith(() => ({ status: 401 }));
    const program = await stage.start({ TALLYMAN_PENDING_FILE: file, TALLYMAN_DRAIN_TIMEOUT: "50s" });
    await clientOf(program).call(CALLS.chat);
    await until(async () => (await fetch(`${program.adminUrl}/readyz`)).status === 503, "delivery to pause");
    expect(await program.get("/readyz")).toMatchObject({ ready: false, reasons: ["the webhook receiver refuses events: HTTP 401"] });
    program.signal("SIGTERM");
    await until(() => program.exitCode !== undefined, "the program to end");
    expect(program.exitCode).toBe(0);
    expect(await pending()).toMatchObject({ flows: 0, buffered: 0, reports: 1 });
  });

  it("is cut short by a second signal, and the file says what was left", async () => {
    const { stage, file, pending } = await stageWith(() => ({ status: 503 }));
    const program = await stage.start({ TALLYMAN_PENDING_FILE: file });
    const client = clientOf(program);
    await client.call(CALLS.chat);
    await beginStream(stage, client);
    program.signal("SIGTERM");
    await until(() => program.stderr.includes("stopping"), "the drain to begin");
    // Whoever sends traffic here is to send it elsewhere.
    await until(async () => (await fetch(`${program.adminUrl}/readyz`)).status === 503, "readiness to end");
    expect(await program.get("/readyz")).toMatchObject({ ready: false, reasons: expect.arrayContaining([expect.stringMatching(/^draining: /)]) });
    expect(await program.stop("SIGINT")).toBe(130);
    expect(await pending()).toMatchObject({ pid: program.pid, flows: 1, buffered: 0, reports: 1 });
  });
});
