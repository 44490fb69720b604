/** Contestant: a plain CONNECT tunnel. No TLS, no HTTP: what any proxy in Node pays. argv: port, upstream port. */

import { connect, createServer } from "node:net";
import { acceptConnect } from "./connect-head.ts";

const [port = "", upstreamPort = ""] = process.argv.slice(2);

createServer((downstream) => {
  downstream.setNoDelay();
  downstream.on("error", () => downstream.destroy());
  acceptConnect(downstream, () => {
    const upstream = connect({ port: Number(upstreamPort), host: "127.0.0.1", noDelay: true });
    upstream.on("error", () => downstream.destroy());
    upstream.on("close", () => downstream.destroy());
    downstream.on("close", () => upstream.destroy());
    downstream.pipe(upstream).pipe(downstream);
  });
}).listen(Number(port), "127.0.0.1");
