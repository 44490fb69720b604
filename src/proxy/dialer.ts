/**
 * Opens sockets to upstreams: connect-to mapping, address policy, the chained proxy, TLS with verification always on,
 * one deadline over name resolution, TCP, the chained proxy's answer and TLS together. Used by the tunnel and by the
 * upstream pools.
 */

import { connect as netConnect, isIP, type LookupFunction, type Socket } from "node:net";
import { connect as tlsConnect, createSecureContext, getCACertificates, type SecureContext, type TLSSocket } from "node:tls";

import type { AddressPolicy } from "./address-policy.ts";
import type { Target } from "./connect-target.ts";
import { createNameResolver, type NameResolver } from "./name-resolution.ts";
import { errorCode, ProxyError, toProxyError } from "./proxy-error.ts";
import { requestTunnel, type UpstreamProxy } from "./upstream-proxy.ts";

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
  /**
   * Every connection, for https and http alike, goes through this proxy by CONNECT. It is asked for where the
   * connect-to rules lead; it resolves names, so the policy judges only what AddressPolicy.checkForeign can see. Its own
   * address is the operator's choice and exempt from the deny list, but is never a port of ours.
   */
  readonly upstreamProxy?: UpstreamProxy | undefined;
  /** Default: the system's resolver. */
  readonly names?: NameResolver | undefined;
}

/** Called once, never before the dial has returned: with an error and no socket, or the other way round. */
export type DialCallback<S extends Socket = Socket> = (error: ProxyError | null, socket?: S) => void;

export interface Dialer {
  /** A TCP connection to where the target leads. Returns a function that gives up. */
  dialTcp(target: Target, callback: DialCallback): () => void;
  /**
   * A verified TLS connection. `protocols` are offered by ALPN, the preferred first (default `["http/1.1"]`); the
   * socket's `alpnProtocol` is what the upstream chose of them, false where it does not know ALPN. One that wants none
   * of them is an error that isNoCommonProtocol knows. Returns a function that gives up.
   */
  dialTls(target: Target, callback: DialCallback<TLSSocket>, protocols?: readonly string[]): () => void;
}

const HTTP_1_ONLY = ["http/1.1"];

/** TLS sessions that are kept for resumption: one for each origin and list of protocols, the newest of each. */
const MAX_SESSIONS = 256;

/**
 * The longest wait for one address of several before the next is tried; a quarter of the deadline where that is less.
 * Node's own 250 ms break the attempt off, so that a far upstream with several addresses would never answer in time.
 */
const MAX_ADDRESS_ATTEMPT_MS = 1000;

export function createDialer(options: DialerOptions): Dialer {
  const { policy, upstreamProxy } = options;
  const names = options.names ?? createNameResolver();
  const openTls = createTlsOpener(options.extraCaPem);
  const addressAttemptMs = Math.min(MAX_ADDRESS_ATTEMPT_MS, Math.ceil(options.connectTimeoutMs / 4));

  const lookupFor = (place: Place, attempt: Attempt): LookupFunction => (name, _options, callback) => {
    const giveUp = names.resolve(name, (error, addresses) => {
      try {
        if (error !== null) throw dnsError(error, attempt.phase);
        callback(null, policy.allowed(addresses, place.port, place.isExempt));
      } catch (refused) {
        callback(toProxyError(refused), []);
      }
    });
    attempt.onFailure(giveUp);
  };

  const openTcp = (place: Place, attempt: Attempt, onOpen: (tcp: Socket) => void): void => {
    if (isIP(place.host) !== 0) policy.check(place.host, place.port, place.isExempt);
    const tcp = netConnect({
      host: place.host,
      port: place.port,
      noDelay: true,
      keepAlive: true,
      allowHalfOpen: true,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: addressAttemptMs,
      lookup: lookupFor(place, attempt),
    });
    attempt.onFailure(() => tcp.destroy());
    tcp.on("error", attempt.fail);
    tcp.once("connect", () => onOpen(tcp));
  };

  const openPath = (target: Target, attempt: Attempt, onOpen: (tcp: Socket) => void): void => {
    const place = placeOf(target, options.connectTo);
    if (upstreamProxy === undefined) {
      openTcp(place, attempt, onOpen);
      return;
    }
    const asked = { host: policy.checkForeign(place.host, place.port, place.isExempt), port: place.port };
    attempt.phase = "proxy";
    openTcp({ host: upstreamProxy.host, port: upstreamProxy.port, isExempt: true }, attempt, (tcp) => {
      attempt.phase = "proxy-answer";
      requestTunnel(tcp, asked, upstreamProxy.credentials, (error) => (error === null ? onOpen(tcp) : attempt.fail(error)));
    });
  };

  const dial = <S extends Socket>(target: Target, callback: DialCallback<S>, upgrade: (tcp: Socket, attempt: Attempt<S>) => void): (() => void) => {
    const attempt = startAttempt(options.connectTimeoutMs, callback);
    try {
      openPath(target, attempt, (tcp) => upgrade(tcp, attempt));
    } catch (error) {
      queueMicrotask(() => attempt.fail(error));
    }
    return () => attempt.fail(new ProxyError("upstream_unreachable", "the client went away"));
  };

  return {
    dialTcp: (target, callback) =>
      dial(target, callback, (tcp, attempt) => {
        tcp.off("error", attempt.fail);
        attempt.succeed(tcp);
      }),
    dialTls: (target, callback, protocols = HTTP_1_ONLY) => dial(target, callback, (tcp, attempt) => openTls(tcp, target, protocols, attempt)),
  };
}

/** Whether a dial failed because the upstream speaks none of the protocols that were offered (RFC 7301 section 3.2). */
export function isNoCommonProtocol(error: unknown): boolean {
  return error instanceof ProxyError && errorCode(error.cause) === NO_COMMON_PROTOCOL;
}

const NO_COMMON_PROTOCOL = "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL";

/** Where a TCP connection goes. `isExempt`: the operator chose it, the deny list does not hold. */
interface Place extends Target {
  readonly isExempt: boolean;
}

/** The first rule that matches decides. */
function placeOf(target: Target, rules: readonly ConnectToRule[]): Place {
  const rule = rules.find(
    ({ host, port }) => (host === undefined || host === target.host) && (port === undefined || port === target.port),
  );
  return { host: rule?.toHost ?? target.host, port: rule?.toPort ?? target.port, isExempt: rule !== undefined };
}

/** What a dial is doing; its failure is told accordingly. */
type Phase = "upstream" | "proxy" | "proxy-answer" | "tls";

/** One dial: ends once, by success, failure or its deadline. */
interface Attempt<S extends Socket = never> {
  phase: Phase;
  /** Undoes a step if the dial fails; the last step is undone first. */
  onFailure(undo: () => void): void;
  readonly fail: (error: unknown) => void;
  succeed(socket: S): void;
}

function startAttempt<S extends Socket>(timeoutMs: number, callback: DialCallback<S>): Attempt<S> {
  const undos: (() => void)[] = [];
  let isOver = false;
  const end = (): boolean => {
    if (isOver) return false;
    isOver = true;
    clearTimeout(timer);
    return true;
  };
  const attempt: Attempt<S> = {
    phase: "upstream",
    onFailure: (undo) => void undos.push(undo),
    fail(error) {
      if (!end()) return;
      for (const undo of undos.toReversed()) undo();
      callback(dialError(error, attempt.phase));
    },
    succeed(socket) {
      if (end()) callback(null, socket);
    },
  };
  const timer = setTimeout(() => attempt.fail(timeoutError(attempt.phase)), timeoutMs);
  return attempt;
}

/** Wraps connected sockets in TLS. Holds the trusted roots and the sessions to resume. */
function createTlsOpener(extraCaPem: string | undefined): (tcp: Socket, target: Target, protocols: readonly string[], attempt: Attempt<TLSSocket>) => void {
  const sessions = new Map<string, Buffer>();
  let context: SecureContext | undefined;
  return (tcp, target, protocols, attempt) => {
    attempt.phase = "tls";
    context ??= createSecureContext(extraCaPem === undefined ? {} : { ca: [...getCACertificates("default"), extraCaPem] });
    // A resumed session negotiates ALPN anew (RFC 7301 section 3.1); servers that forget to are kept apart by the list.
    const key = `${target.host}:${target.port} ${protocols.join(",")}`;
    const session = sessions.get(key);
    const tls = tlsConnect({
      socket: tcp,
      host: target.host,
      ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
      secureContext: context,
      ALPNProtocols: [...protocols],
      ...(session === undefined ? {} : { session }),
    });
    const failOnEnd = (): void => attempt.fail(new Error("closed during the TLS handshake"));
    attempt.onFailure(() => tls.destroy());
    tls.on("session", (next: Buffer) => rememberSession(sessions, key, next));
    tls.on("error", attempt.fail);
    tls.once("end", failOnEnd);
    tls.once("secureConnect", () => {
      tls.off("error", attempt.fail);
      tls.off("end", failOnEnd);
      tcp.off("error", attempt.fail);
      // The raw socket's errors surface on the TLS socket; a listener keeps a late one from ending the process.
      tcp.on("error", ignoreSurfaced);
      attempt.succeed(tls);
    });
  };
}

function ignoreSurfaced(): void {
  // Reported by the TLS socket on top of this one.
}

function rememberSession(sessions: Map<string, Buffer>, key: string, session: Buffer): void {
  sessions.delete(key);
  sessions.set(key, session);
  if (sessions.size > MAX_SESSIONS) {
    const oldest = sessions.keys().next();
    if (oldest.done !== true) sessions.delete(oldest.value);
  }
}

function dialError(error: unknown, phase: Phase): ProxyError {
  if (error instanceof ProxyError) return phase === "proxy" && error.code === "address_denied" ? ownProxyError() : error;
  const code = errorCode(error);
  if (phase === "tls") return new ProxyError("upstream_tls", tlsMessage(code), error);
  const peer = peerOf(phase);
  const reason = code === "" ? "" : ` (${code})`;
  if (phase === "proxy-answer") return new ProxyError("upstream_unreachable", `${peer} broke the connection off before it answered${reason}`, error);
  if (code === "ETIMEDOUT") return new ProxyError("upstream_timeout", `${peer} did not answer the connection attempt`, error);
  return new ProxyError("upstream_unreachable", `no connection to ${peer}${reason}`, error);
}

function ownProxyError(): ProxyError {
  return new ProxyError("address_denied", "TALLYMAN_UPSTREAM_PROXY names this proxy itself");
}

function dnsError(error: Error, phase: Phase): ProxyError {
  return error instanceof ProxyError ? error : new ProxyError("upstream_dns", `${peerOf(phase)}'s name does not resolve`, error);
}

function timeoutError(phase: Phase): ProxyError {
  const what = phase === "proxy-answer" ? "no answer of the upstream proxy" : `no connection to ${peerOf(phase)}`;
  return new ProxyError("upstream_timeout", `${what} within TALLYMAN_UPSTREAM_CONNECT_TIMEOUT`);
}

function peerOf(phase: Phase): string {
  return phase === "proxy" || phase === "proxy-answer" ? "the upstream proxy" : "the upstream";
}

function tlsMessage(code: string): string {
  if (code === NO_COMMON_PROTOCOL) return "the upstream speaks none of the HTTP versions that it was offered";
  const reason = code === "" ? "handshake failed" : code;
  return `the upstream's TLS certificate or handshake was refused (${reason}); a private root goes into TALLYMAN_UPSTREAM_CA_FILE`;
}
