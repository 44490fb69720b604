/** Where a request goes: forms of hosts and ports, TLS without a name, and bytes that are no TLS. */

import { createServer, type AddressInfo } from "node:net";

import { openTunnel } from "./clients.ts";
import { seen, PLAIN_HOST, statusOf, type Row } from "./harness.ts";
import { lines } from "./message.ts";
import type { Asking, Client } from "./peers.ts";
import { same, type ExchangeRow } from "./rows-exchanges.ts";

interface TargetCase {
  readonly name: string;
  /** The CONNECT target. */
  readonly authority: string;
  readonly hostField: string;
  /** What the client puts into its TLS handshake; the host by default. */
  readonly serverName?: string;
  /** The server name that the upstream sees. */
  readonly upstreamName?: string;
}

const CASES: readonly TargetCase[] = [
  { name: "an IPv6 literal", authority: "[::1]:443", hostField: "[::1]", serverName: "", upstreamName: "" },
  { name: "an IPv6 literal and a port", authority: "[::1]:8443", hostField: "[::1]:8443", serverName: "", upstreamName: "" },
  { name: "a host that ends with a dot", authority: "{host}.:443", hostField: "{host}." },
  { name: "a host that ends with a dot, named without it", authority: "{host}.:443", hostField: "{host}" },
  { name: "another port", authority: "{host}:8443", hostField: "{host}:8443" },
  { name: "another port, named without it", authority: "{host}:8443", hostField: "{host}" },
  { name: "a host in upper case", authority: "{HOST}:443", hostField: "{host}" },
  { name: "a host in lower case, named in upper case", authority: "{host}:443", hostField: "{HOST}" },
  { name: "a host in punycode", authority: "xn--bcher-kva.{host}:443", hostField: "xn--bcher-kva.{host}", upstreamName: "xn--bcher-kva.{host}" },
  { name: "a host with an underscore", authority: "a_b.{host}:443", hostField: "a_b.{host}", upstreamName: "a_b.{host}" },
  { name: "a host whose TLS handshake names nobody", authority: "{host}:443", hostField: "{host}", serverName: "" },
  { name: "the CONNECT's host when the TLS handshake names another", authority: "{host}:443", hostField: "{host}", serverName: "other.example.net" },
];

export const TARGET_ROWS: readonly ExchangeRow[] = [
  ...CASES.map(({ name, authority, hostField, serverName, upstreamName = "{host}" }) => ({
    name: `a request reaches ${name}`,
    async run(row: Row) {
      const fill = (text: string): string => row.text(text).replaceAll("{HOST}", row.host.toUpperCase());
      const nameSeen = fill(upstreamName);
      const before = row.stage.upstream.asked(nameSeen).length;
      row.stage.upstream.script(nameSeen, (asked) => asked.send(`${lines("HTTP/1.1 200 OK", "Content-Length: 2")}ok`));
      const client = await row.client({ authority: fill(authority), ...(serverName === undefined ? {} : { serverName }) });
      const { answer } = await answerTo(row, client, lines("GET /x HTTP/1.1", `Host: ${fill(hostField)}`));
      same([statusOf(answer.head?.start ?? ""), answer.body], ["200", "ok"]);
      const asked = row.stage.upstream.asked(nameSeen)[before];
      const host = row.stage.up === "h1" ? asked?.request.head?.fields[1] : asked?.request.head?.start.split(" ").find((word) => word.toLowerCase() === fill(hostField).toLowerCase());
      same(host, fill(hostField));
    },
  })),
  {
    name: "bytes that are no TLS are tunnelled to where the CONNECT leads",
    on: ["h1→h1"],
    async run(row) {
      const server = createServer((socket) => socket.on("data", (chunk: Buffer) => socket.write(Buffer.concat([Buffer.from("echo "), chunk]))).on("error", () => undefined));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const socket = await openTunnel(row.stage.proxy.port, `${PLAIN_HOST}:${String((server.address() as AddressInfo).port)}`);
      let received = "";
      socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
      socket.write("SSH-2.0-x\r\n\xff\x00", "latin1");
      await seen(() => received === "echo SSH-2.0-x\r\n\xff\x00", "the echo");
      socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  },
];

async function answerTo(row: Row, client: Client, text: string): Promise<Asking> {
  const asking = client.ask(row.text(text));
  await seen(() => asking.answer.state !== "open", "the answer");
  return asking;
}
