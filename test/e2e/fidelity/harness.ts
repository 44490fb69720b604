/** One engine for all rows of a combination of versions, an upstream behind it, and clients in front. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";

import { loadOrCreateAuthority } from "../../../src/proxy/certificate-authority.ts";
import { createLeafCache } from "../../../src/proxy/leaf-cache.ts";
import { startProxy, type ProxyServer } from "../../../src/proxy/proxy.ts";
import { connectClient, type ClientOptions } from "./clients.ts";
import { lines } from "./message.ts";
import type { Asked, Client, Version } from "./peers.ts";
import { startUpstream, type Accepted, type Script, type Upstream } from "./upstream.ts";

/** Downstream → upstream. */
export type Combination = "h1→h1" | "h2→h1" | "h1→h2" | "h2→h2";

export interface Stage {
  readonly combination: Combination;
  readonly down: Version;
  readonly up: Version;
  readonly proxy: ProxyServer;
  readonly upstream: Upstream;
  readonly caPem: string;
  /** A part for one row, with a host name of its own. */
  row(script?: Script): Row;
  close(): Promise<void>;
}

/** What one row has. */
export interface Row {
  readonly stage: Stage;
  readonly host: string;
  /** `{host}` replaced. */
  text(template: string): string;
  client(options?: Partial<ClientOptions>): Promise<Client>;
  readonly asked: readonly Asked[];
  /** The first request, when its head is in. */
  firstAsked(): Promise<Asked>;
  readonly connections: readonly Accepted[];
  /** Ends the clients of the row. */
  end(): void;
}

/** A host whose ports are those of this machine, for upstreams that speak no TLS. */
export const PLAIN_HOST = "plain.example.com";
/** How long a row waits for what has to happen; a machine may be loaded. */
const BOUND_MS = 10_000;

/** Waits for a condition as `until` does, looking more often: there are a thousand rows, each with several waits. */
export async function seen(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + BOUND_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${String(BOUND_MS)} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** The bounds that the engine under test is given, so that rows need not wait long for them. */
export const FIRST_REQUEST_TIMEOUT_MS = 1500;

export async function startStage(combination: Combination): Promise<Stage> {
  const [down, up] = combination.split("→") as [Version, Version];
  const dir = await mkdtemp(join(tmpdir(), "tallyman-fidelity-"));
  const ca = await loadOrCreateAuthority(join(dir, "ca"));
  const upstreamCa = await loadOrCreateAuthority(join(dir, "upstream"));
  const upstream = await startUpstream(up, upstreamCa);
  const leaves = createLeafCache({ authority: ca, leafTtlMs: 3_600_000 });
  const proxy = await startProxy({
    host: "127.0.0.1",
    port: 0,
    proxyTokens: [],
    isIntercepted: () => true,
    contextFor: (host) => leaves.contextFor(host),
    denyAddresses: ["127.0.0.0/8", "::1/128"],
    otherOwnPorts: () => [],
    connectTo: [
      { host: PLAIN_HOST, port: undefined, toHost: "127.0.0.1", toPort: undefined },
      { host: undefined, port: undefined, toHost: "127.0.0.1", toPort: upstream.port },
    ],
    extraCaPem: upstreamCa.certificatePem,
    connectTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    observer: { isMetered: () => true, open: () => undefined },
    gate: { admit: () => undefined },
    closedFor: () => undefined,
    now: Date.now,
    onProxyAnswer: () => undefined,
    onTunnelEnd: () => undefined,
    onHandshakeError: () => undefined,
    firstRequestTimeoutMs: FIRST_REQUEST_TIMEOUT_MS,
  });
  let rows = 0;
  const stage: Stage = {
    combination,
    down,
    up,
    proxy,
    upstream,
    caPem: ca.certificatePem,
    row: (script) => openRow(stage, `row-${String(++rows)}.example.com`, script),
    async close() {
      await proxy.close();
      await upstream.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return stage;
}

function openRow(stage: Stage, host: string, script: Script | undefined): Row {
  const clients: Client[] = [];
  const { upstream } = stage;
  upstream.script(host, (asked) => {
    if (isGood(asked)) asked.send(GOOD_ANSWER);
    else script?.(asked);
  });
  return {
    stage,
    host,
    text: (template) => template.replaceAll("{host}", host),
    async client(options = {}) {
      const client = await connectClient(stage.down, { proxyPort: stage.proxy.port, authority: `${host}:443`, caPem: stage.caPem, ...options });
      clients.push(client);
      return client;
    },
    get asked() {
      return upstream.asked(host);
    },
    async firstAsked() {
      await seen(() => upstream.asked(host).length > 0, "the upstream to be asked");
      return upstream.asked(host)[0] as Asked;
    },
    get connections() {
      return upstream.connections.filter(({ name }) => name === host);
    },
    end() {
      for (const client of clients) client.destroy();
    },
  };
}

const GOOD_PATH = "/a-good-request";
const GOOD_ANSWER = `${lines("HTTP/1.1 200 OK", "Content-Length: 4")}fine`;

/** A request without fault is served, on the client given or on a new connection. */
export async function servesGoodRequest(row: Row, client?: Client): Promise<void> {
  const before = row.asked.filter(isGood).length;
  const asking = (client ?? (await row.client())).ask(row.text(lines(`GET ${GOOD_PATH} HTTP/1.1`, "Host: {host}")));
  await seen(() => asking.answer.state !== "open", "the answer to a good request");
  const { head, body, state } = asking.answer;
  expect({ body, state, status: statusOf(head?.start ?? "") }).toEqual({ body: "fine", state: "whole", status: "200" });
  expect(row.asked.filter(isGood)).toHaveLength(before + 1);
}

/** Whether the upstream was asked what `servesGoodRequest` asks. */
export function isGood(asked: Asked): boolean {
  return asked.request.head?.start.includes(GOOD_PATH) === true;
}

/** The status of an HTTP/1.1 status line or of HTTP/2 pseudo fields. */
export function statusOf(start: string): string {
  return start.startsWith("HTTP/") ? start.slice(9, 12) : start;
}
