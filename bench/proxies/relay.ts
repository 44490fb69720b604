/**
 * Contestant: a TLS to TLS relay. Terminates and encrypts again, knows no HTTP: what any interception in Node pays.
 * argv: port, upstream port, JSON file of leaves, host name. The upstream's roots come by NODE_EXTRA_CA_CERTS.
 */

import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import { acceptConnect } from "./connect-head.ts";

const [port = "", upstreamPort = "", leavesFile = "", host = ""] = process.argv.slice(2);
const secureContext = createSecureContext(leafOf(host));

function leafOf(name: string): { readonly cert: string; readonly key: string } {
  const leaves: unknown = JSON.parse(readFileSync(leavesFile, "utf8"));
  if (!Array.isArray(leaves)) throw new TypeError(`${leavesFile} holds no list`);
  const leaf = leaves.find((one: { host: string; cert: string; key: string }) => one.host === name);
  if (leaf === undefined) throw new Error(`no leaf for ${name}`);
  return leaf;
}

createServer((raw) => {
  raw.setNoDelay();
  raw.on("error", () => raw.destroy());
  acceptConnect(raw, () => {
    const downstream = new TLSSocket(raw, { isServer: true, secureContext });
    const upstream = connect({ port: Number(upstreamPort), host: "127.0.0.1", servername: host });
    upstream.setNoDelay();
    for (const [one, other] of [[downstream, upstream], [upstream, downstream]] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
    downstream.pipe(upstream).pipe(downstream);
  });
}).listen(Number(port), "127.0.0.1");
