/** A client of the soak: one stream after the other through the proxy, each over a tunnel of its own, some of which it leaves. */

import { connect as connectHttp2 } from "node:http2";
import { request as requestHttp1 } from "node:http";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";

const HOST = "api.openai.com";
const BODY = JSON.stringify({ model: "gpt-4.1", stream: true, stream_options: { include_usage: true }, messages: [{ role: "user", content: "Why?" }] });
const HEADERS = { "content-type": "application/json", authorization: "Bearer sk-soak" };

/** How a stream ended for the client. */
export type Outcome = "whole" | "broken" | "left";

export interface SoakClient {
  readonly proxyPort: number;
  readonly caPem: string;
  readonly version: "1.1" | "2";
  /** Leaves after so many events; undefined: reads to the end. */
  readonly leavesAfter: number | undefined;
}

/** Runs one stream. Never rejects. */
export async function runStream(client: SoakClient): Promise<Outcome> {
  const tunnel = await openTunnel(client).catch(() => undefined);
  if (tunnel === undefined) return "broken";
  try {
    return await (client.version === "2" ? overHttp2(tunnel, client) : overHttp1(tunnel, client));
  } finally {
    tunnel.destroy();
  }
}

/** A tunnel with TLS in it, as one version or the other. */
export function openTunnel({ proxyPort, caPem, version, host = HOST }: Omit<SoakClient, "leavesAfter"> & { readonly host?: string }): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const raw: Socket = connectTcp(proxyPort, "127.0.0.1");
    raw.on("error", reject);
    raw.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
    raw.once("data", () => {
      const tls = connectTls({ socket: raw, servername: host, ca: caPem, ALPNProtocols: version === "2" ? ["h2"] : ["http/1.1"] });
      tls.on("error", reject);
      tls.once("secureConnect", () => resolve(tls));
    });
  });
}

function overHttp1(tunnel: TLSSocket, { leavesAfter }: SoakClient): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = requestHttp1({ createConnection: () => tunnel, method: "POST", path: "/v1/chat/completions", headers: { host: HOST, "content-length": BODY.length, ...HEADERS } });
    let events = 0;
    request.on("error", () => resolve("broken"));
    request.on("response", (response) => {
      response.on("data", () => {
        events += 1;
        if (events !== leavesAfter) return;
        resolve("left");
        tunnel.destroy();
      });
      response.on("end", () => resolve("whole"));
      response.on("error", () => resolve("broken"));
    });
    request.end(BODY);
  });
}

function overHttp2(tunnel: TLSSocket, { leavesAfter }: SoakClient): Promise<Outcome> {
  return new Promise((resolve) => {
    const session = connectHttp2(`https://${HOST}`, { createConnection: () => tunnel });
    session.on("error", () => resolve("broken"));
    const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...HEADERS });
    let events = 0;
    let isWhole = false;
    stream.on("error", () => resolve("broken"));
    stream.on("data", () => {
      events += 1;
      if (events !== leavesAfter) return;
      resolve("left");
      stream.close(8);
    });
    stream.on("end", () => (isWhole = true));
    stream.on("close", () => {
      resolve(isWhole && stream.rstCode === 0 ? "whole" : "broken");
      session.destroy();
    });
    stream.end(BODY);
  });
}
