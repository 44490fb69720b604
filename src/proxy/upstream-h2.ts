/**
 * HTTP/2 to upstreams (RFC 9113) on node:http2: sessions over connections that were made elsewhere and agreed on h2, many
 * requests on each. Owns the sessions' life and bounds, and each stream from its head to its close. Dials nothing.
 *
 * What Node 24.21 leaves to its user, seen by running it:
 * - A reset without an error ends the readable side as END_STREAM does: a response cut short would pass for a whole one.
 * - When the connection goes, streams close as if the origin had cancelled them, and what was received of a response
 *   but not read yet would be lost with them, although the response may be whole.
 * - A session that was closed in good order waits without bound for its peer to close the connection.
 */

import type { TLSSocket } from "node:tls";

import { Http2Call } from "./http2-call.ts";
import { Http2Session, IDLE_SESSION_MS } from "./http2-session.ts";
import { createIdleWatch } from "./idle-watch.ts";
import type { UpstreamCall, UpstreamListener, UpstreamRequest } from "./messages.ts";

export interface Http2UpstreamOptions {
  /** A stream on which nothing moved for this long is cancelled: `upstream_timeout`. */
  readonly idleTimeoutMs: number;
  /** Default IDLE_SESSION_MS. */
  readonly idleSessionMs?: number;
}

/** Sessions by origin. `key` names the origin; two connections under one key lead to the same place. */
export interface Http2Upstream {
  /**
   * Takes a connected socket whose `alpnProtocol` is h2, and on which nobody else reads or writes. False: it is not connected
   * or there are too many sessions; the socket is destroyed.
   */
  adopt(key: string, socket: TLSSocket): boolean;
  /** Whether a request to the origin leaves at once. Holds until the next turn of the event loop. */
  hasRoom(key: string): boolean;
  /** Sends the request on a session that has room; without one it fails. Never throws and calls no listener before it returns. */
  request(key: string, request: UpstreamRequest, listener: UpstreamListener): UpstreamCall;
  /** Connections that are open now. */
  readonly size: number;
  /** Ends everything at once; calls that are under way hear of it as an error. */
  close(): Promise<void>;
}

/** Connections to one origin and to all; beyond them the oldest idle one makes room, or `adopt` refuses. */
export const MAX_SESSIONS_PER_ORIGIN = 256;
export const MAX_SESSIONS = 1024;

export function createHttp2Upstream(options: Http2UpstreamOptions): Http2Upstream {
  const idle = createIdleWatch(options.idleTimeoutMs);
  const idleSessionMs = options.idleSessionMs ?? IDLE_SESSION_MS;
  const open = new Set<Http2Session>();
  const usable = new Map<string, Set<Http2Session>>();
  let isClosed = false;

  const forget = (session: Http2Session): void => {
    const known = usable.get(session.key);
    if (known?.delete(session) === true && known.size === 0) usable.delete(session.key);
  };

  const destroy = (session: Http2Session): void => {
    forget(session);
    open.delete(session);
    session.destroy();
  };

  const makeRoom = (key: string): boolean => {
    const known = usable.get(key) ?? new Set<Http2Session>();
    const full = known.size >= MAX_SESSIONS_PER_ORIGIN ? known : open.size >= MAX_SESSIONS ? open : undefined;
    if (full === undefined) return true;
    for (const session of full) {
      if (session.streams > 0) continue;
      destroy(session);
      return true;
    }
    return false;
  };

  const openSession = (key: string, socket: TLSSocket): Http2Session | undefined => {
    try {
      return new Http2Session(key, socket, idleSessionMs, {
        onRetired: forget,
        onClosed: (closed) => {
          forget(closed);
          open.delete(closed);
        },
      });
    } catch {
      // Node throws at a socket that is not connected (any more) or that another session owns: it is of no use.
      socket.destroy();
      return undefined;
    }
  };

  const sessionFor = (key: string): Http2Session | undefined => {
    for (const session of usable.get(key) ?? []) if (session.hasRoom) return session;
    return undefined;
  };

  return {
    adopt(key, socket) {
      if (isClosed || socket.destroyed || !makeRoom(key)) {
        socket.destroy();
        return false;
      }
      const session = openSession(key, socket);
      if (session === undefined) return false;
      open.add(session);
      const known = usable.get(key);
      if (known === undefined) usable.set(key, new Set([session]));
      else known.add(session);
      return true;
    },
    hasRoom: (key) => sessionFor(key) !== undefined,
    request(key, request, listener) {
      const call = new Http2Call(request, listener, idle);
      call.start(sessionFor(key));
      return call;
    },
    get size() {
      return open.size;
    },
    async close() {
      isClosed = true;
      idle.close();
      const sessions = [...open];
      for (const session of sessions) destroy(session);
      await Promise.all(sessions.map((session) => session.closed));
    },
  };
}
