/**
 * Contestant: http-mitm-proxy as its README shows it, with keep-alive to the upstream. argv: port, folder for its CA.
 * The upstream's roots come by NODE_EXTRA_CA_CERTS.
 */

import { Proxy } from "http-mitm-proxy";

const [port = "", sslCaDir = ""] = process.argv.slice(2);

const proxy = new Proxy();
proxy.onError(() => undefined);
proxy.listen({ port: Number(port), host: "127.0.0.1", sslCaDir, keepAlive: true });
