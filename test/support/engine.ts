/** A proxy engine with a CA of its own, an upstream CA, and observers that record what they were shown. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { FlowHead, FlowOutcome, ResponseHead } from "../../src/flow/flow.ts";
import { loadOrCreateAuthority, type CertificateAuthority } from "../../src/proxy/certificate-authority.ts";
import { createLeafCache } from "../../src/proxy/leaf-cache.ts";
import { startProxy, type ProxyOptions, type ProxyServer } from "../../src/proxy/proxy.ts";
import type { TunnelReport } from "../../src/proxy/tunnel.ts";
import { startRawUpstream, type RawUpstream, type UpstreamConnection } from "./raw-peers.ts";

/** What a tap was shown of one flow. */
export interface SeenFlow {
  readonly head: FlowHead;
  readonly request: Buffer;
  isRequestEnded: boolean;
  responseHead: ResponseHead | undefined;
  readonly response: Buffer;
  outcome: FlowOutcome | undefined;
}

export interface Engine {
  readonly proxy: ProxyServer;
  readonly upstream: RawUpstream;
  readonly ca: CertificateAuthority;
  readonly upstreamCa: CertificateAuthority;
  readonly flows: SeenFlow[];
  readonly tunnels: TunnelReport[];
  readonly answers: string[];
  /** Set to hold the last byte of responses back. */
  hold: Promise<void> | undefined;
  /** Set to hold bytes of a WebSocket back. */
  holdResponseData: ((chunk: Uint8Array) => Promise<void> | undefined) | undefined;
  close(): Promise<void>;
}

export interface EngineOptions extends Partial<Omit<ProxyOptions, "observer" | "contextFor">> {
  /** Whether the upstream speaks TLS. Default true. */
  readonly isUpstreamTls?: boolean;
  readonly upstreamHost?: string;
  readonly upstreamName?: string;
  /** Whether CONNECT_TO leads every host to the upstream. Default true. */
  readonly isMapped?: boolean;
}

export async function startEngine(onData: (connection: UpstreamConnection) => void, options: EngineOptions = {}): Promise<Engine> {
  const dir = await mkdtemp(join(tmpdir(), "tallyman-engine-"));
  const ca = await loadOrCreateAuthority(join(dir, "ca"));
  const upstreamCa = await loadOrCreateAuthority(join(dir, "upstream"));
  const leaf = await upstreamCa.issueLeaf(options.upstreamName ?? "api.example.com", 3_600_000, Date.now());
  const upstream = await startRawUpstream(options.isUpstreamTls === false ? undefined : leaf, onData, options.upstreamHost);
  const leaves = createLeafCache({ authority: ca, leafTtlMs: 3_600_000 });
  const flows: SeenFlow[] = [];
  const tunnels: TunnelReport[] = [];
  const answers: string[] = [];
  const engine: Pick<Engine, "hold" | "holdResponseData"> = { hold: undefined, holdResponseData: undefined };
  const proxy = await startProxy({
    host: "127.0.0.1",
    port: 0,
    proxyTokens: [],
    isIntercepted: () => true,
    denyAddresses: ["127.0.0.0/8", "::1/128"],
    otherOwnPorts: () => [],
    connectTo:
      options.isMapped === false
        ? []
        : [{ host: undefined, port: undefined, toHost: options.upstreamHost ?? "127.0.0.1", toPort: upstream.port }],
    extraCaPem: upstreamCa.certificatePem,
    connectTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    gate: { admit: () => undefined },
    closedFor: () => undefined,
    now: Date.now,
    onProxyAnswer: (code) => void answers.push(code),
    onTunnelEnd: (report) => void tunnels.push(report),
    onHandshakeError: () => undefined,
    ...options,
    contextFor: (host) => leaves.contextFor(host),
    observer: {
      isMetered: () => true,
      open(head) {
        const up: Uint8Array[] = [];
        const down: Uint8Array[] = [];
        const flow: SeenFlow = {
          head,
          get request() {
            return Buffer.concat(up);
          },
          isRequestEnded: false,
          responseHead: undefined,
          get response() {
            return Buffer.concat(down);
          },
          outcome: undefined,
        };
        flows.push(flow);
        return {
          requestData: (chunk) => void up.push(chunk),
          requestEnd: () => void (flow.isRequestEnded = true),
          responseHead: (responseHead) => void (flow.responseHead = responseHead),
          responseData(chunk) {
            down.push(chunk);
            return engine.holdResponseData?.(Buffer.from(chunk));
          },
          end(outcome) {
            flow.outcome = outcome;
            return engine.hold;
          },
        };
      },
    },
  });
  return Object.assign(engine, {
    proxy,
    upstream,
    ca,
    upstreamCa,
    flows,
    tunnels,
    answers,
    async close() {
      await proxy.close();
      await upstream.close();
      await rm(dir, { recursive: true, force: true });
    },
  });
}
