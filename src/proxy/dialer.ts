/**
 * Opens sockets to upstreams: connect-to mapping, address policy, TLS with verification always on, one deadline over
 * name resolution, TCP and TLS together. Used by the tunnel and by the undici pools.
 */

import { connect as netConnect, isIP, type Socket } from "node:net";
import { connect as tlsConnect, createSecureContext, getCACertificates, type SecureContext, type TLSSocket } from "node:tls";

import type { AddressPolicy } from "./address-policy.ts";
import type { Target } from "./connect-target.ts";
import { errorCode, ProxyError } from "./proxy-error.ts";

/** One rule of curl's --connect-to form; undefined host or port matches any, undefined target part keeps the original. */
export interface ConnectToRule {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly toHost: string | undefined;
  readonly toPort: number | undefined;
}

export interface DialerOptions {
  readonly policy: AddressPolicy;
  readonly connectTo: readonly ConnectToRule[];
  /** PEM text of further trusted roots. */
  readonly extraCaPem: string | undefined;
  readonly connectTimeoutMs: number;
}

export type DialCallback = (error: ProxyError | null, socket?: Socket) => void;

export interface Dialer {
  /** A TCP connection to where the target leads. Returns a function that gives up. */
  dialTcp(target: Target, callback: DialCallback): () => void;
  /** A verified TLS connection (ALPN http/1.1). Returns a function that gives up. */
  dialTls(target: Target, callback: DialCallback): () => void;
}

const MAX_SESSIONS = 256;

export function createDialer(options: DialerOptions): Dialer {
  const sessions = new Map<string, Buffer>();
  let context: SecureContext | undefined;

  const openTcp = (target: Target): Socket => {
    const rule = options.connectTo.find((candidate) => matches(candidate, target));
    const host = rule?.toHost ?? target.host;
    const port = rule?.toPort ?? target.port;
    const isExempt = rule !== undefined;
    if (isIP(host) !== 0) options.policy.check(host, port, isExempt);
    return netConnect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      allowHalfOpen: true,
      lookup: options.policy.lookupFor(port, isExempt),
    });
  };

  const openTls = (target: Target, tcp: Socket): TLSSocket => {
    context ??= createSecureContext(
      options.extraCaPem === undefined ? {} : { ca: [...getCACertificates("default"), options.extraCaPem] },
    );
    const key = `${target.host}:${target.port}`;
    const session = sessions.get(key);
    const socket = tlsConnect({
      socket: tcp,
      host: target.host,
      ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
      secureContext: context,
      ALPNProtocols: ["http/1.1"],
      ...(session === undefined ? {} : { session }),
    });
    socket.on("session", (next: Buffer) => rememberSession(sessions, key, next));
    return socket;
  };

  const dial = (target: Target, isTls: boolean, callback: DialCallback): (() => void) => {
    let phase: "tcp" | "tls" = "tcp";
    let tcp: Socket;
    let tls: TLSSocket | undefined;
    let isSettled = false;
    const settle = (error: ProxyError | null, socket?: Socket): void => {
      if (isSettled) return;
      isSettled = true;
      clearTimeout(timer);
      if (error !== null) {
        tls?.destroy();
        tcp?.destroy();
      }
      callback(error, socket);
    };
    const fail = (error: unknown): void => settle(dialError(error, phase));
    const timer = setTimeout(
      () => settle(new ProxyError("upstream_timeout", "no connection to the upstream within TALLYMAN_UPSTREAM_CONNECT_TIMEOUT")),
      options.connectTimeoutMs,
    );
    try {
      tcp = openTcp(target);
    } catch (error) {
      queueMicrotask(() => fail(error));
      return () => undefined;
    }
    tcp.on("error", fail);
    tcp.once("connect", () => {
      if (!isTls) {
        tcp.removeListener("error", fail);
        settle(null, tcp);
        return;
      }
      phase = "tls";
      tls = openTls(target, tcp);
      tls.on("error", fail);
      tls.once("secureConnect", () => {
        tls?.removeListener("error", fail);
        tcp.removeListener("error", fail);
        // The raw socket's errors surface on the TLS socket; a listener keeps a late one from ending the process.
        tcp.on("error", ignoreSurfaced);
        settle(null, tls);
      });
      tls.once("end", () => fail(new Error("closed during the TLS handshake")));
    });
    return () => fail(new ProxyError("upstream_unreachable", "the client went away"));
  };

  return {
    dialTcp: (target, callback) => dial(target, false, callback),
    dialTls: (target, callback) => dial(target, true, callback),
  };
}

function matches(rule: ConnectToRule, target: Target): boolean {
  return (rule.host === undefined || rule.host === target.host) && (rule.port === undefined || rule.port === target.port);
}

function ignoreSurfaced(): void {
  // Reported by the TLS socket on top of this one.
}

/** Keeps the newest session of the last MAX_SESSIONS origins. */
function rememberSession(sessions: Map<string, Buffer>, key: string, session: Buffer): void {
  sessions.delete(key);
  sessions.set(key, session);
  if (sessions.size > MAX_SESSIONS) {
    const oldest = sessions.keys().next();
    if (oldest.done !== true) sessions.delete(oldest.value);
  }
}

function dialError(error: unknown, phase: "tcp" | "tls"): ProxyError {
  if (error instanceof ProxyError) return error;
  const code = errorCode(error);
  if (phase === "tls") return new ProxyError("upstream_tls", tlsMessage(code), error);
  if (code === "ETIMEDOUT") return new ProxyError("upstream_timeout", "the upstream did not answer the connection attempt", error);
  if (code === "ENOTFOUND" || code.startsWith("EAI_")) {
    return new ProxyError("upstream_dns", "the upstream's name does not resolve", error);
  }
  return new ProxyError("upstream_unreachable", `no connection to the upstream${code === "" ? "" : ` (${code})`}`, error);
}

function tlsMessage(code: string): string {
  const reason = code === "" ? "handshake failed" : code;
  return `the upstream's TLS certificate or handshake was refused (${reason}); a private root goes into TALLYMAN_UPSTREAM_CA_FILE`;
}
