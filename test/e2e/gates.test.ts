/**
 * Every answer that the program makes in an upstream's place (docs/errors.md), asked for by curl over HTTP/1.1 and HTTP/2
 * through the real program: its status, its header, and a body in which the provider's SDK finds its own error.
 * `draining` and `queue_full` are in lifecycle.test.ts, `request_denied` is the library's (test/index.test.ts).
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { loadOrCreateAuthority } from "../../src/proxy/certificate-authority.ts";
import { hasCurl, runCurl, throughProxy } from "../support/curl.ts";
import type { Program } from "../support/program.ts";
import { rawClient, tunnelClient } from "../support/raw-peers.ts";
import { openStage, type Stage } from "../support/stage.ts";

interface Gate {
  /** A sentence whose subject is the upstream. */
  readonly name: string;
  readonly host: string;
  readonly status: number;
  readonly code: string;
  readonly args?: readonly string[];
}

const DAY_MS = 86_400_000;

const GATES: readonly Gate[] = [
  { name: "whose certificate has expired", host: "expired.example", status: 502, code: "upstream_tls" },
  { name: "whose certificate is another host's", host: "other-name.example", status: 502, code: "upstream_tls" },
  { name: "whose certificate is signed by itself", host: "self-signed.example", status: 502, code: "upstream_tls" },
  { name: "whose certificate has a root that nobody knows", host: "unknown-root.example", status: 502, code: "upstream_tls" },
  { name: "that speaks no TLS", host: "plain.example", status: 502, code: "upstream_tls" },
  { name: "at whose port nobody listens", host: "closed.example", status: 502, code: "upstream_unreachable" },
  { name: "that closes the connection instead of an answer", host: "hangs-up.example", status: 502, code: "upstream_unreachable" },
  { name: "whose name does not resolve", host: "no-such-name.invalid", status: 502, code: "upstream_dns" },
  { name: "that answers what is no HTTP", host: "garbage.example", status: 502, code: "upstream_protocol" },
  { name: "that never answers", host: "silent.example", status: 504, code: "upstream_timeout" },
  { name: "that never finishes its handshake", host: "no-handshake.example", status: 504, code: "upstream_timeout" },
  { name: "at an address that is denied", host: "localhost", status: 403, code: "address_denied" },
  { name: "whose name the Host does not have", host: "expired.example", status: 421, code: "authority_mismatch", args: ["--header", "Host: other.example"] },
];

let stage: Stage;
let program: Program;
const servers: Server[] = [];
const sockets = new Set<Socket>();

/** Listens on a free port of loopback. */
async function listen(server: Server): Promise<number> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** A TLS server that does with each request what it is told. */
function tlsServer(leaf: { readonly keyPem: string; readonly certificatePem: string }, onRequest: (socket: Socket) => void): Promise<number> {
  const server = createTlsServer({ key: leaf.keyPem, cert: leaf.certificatePem }, (socket) => {
    socket.on("error", () => undefined).once("data", () => onRequest(socket));
  });
  return listen(server.on("tlsClientError", () => undefined));
}

function selfSigned(dir: string): { keyPem: string; certificatePem: string } {
  const [key, certificate] = [join(dir, "self.key"), join(dir, "self.pem")];
  const made = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=self-signed.example", "-addext", "subjectAltName=DNS:self-signed.example"]);
  if (made.status !== 0) throw new Error(made.stderr.toString());
  return { keyPem: readFileSync(key, "utf8"), certificatePem: readFileSync(certificate, "utf8") };
}

beforeAll(async () => {
  stage = await openStage();
  const trusted = await loadOrCreateAuthority(join(stage.dir, "trusted"));
  const unknown = await loadOrCreateAuthority(join(stage.dir, "unknown"));
  const fine = (socket: Socket): void => void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  const leaf = (host: string) => trusted.issueLeaf(host, DAY_MS, Date.now());
  const ports: Record<string, number> = {
    "expired.example": await tlsServer(await trusted.issueLeaf("expired.example", 1000, Date.now() - DAY_MS), fine),
    "other-name.example": await tlsServer(await leaf("another.example"), fine),
    "self-signed.example": await tlsServer(selfSigned(stage.dir), fine),
    "unknown-root.example": await tlsServer(await unknown.issueLeaf("unknown-root.example", DAY_MS, Date.now()), fine),
    "plain.example": await listen(createServer((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))),
    "closed.example": 1,
    "hangs-up.example": await tlsServer(await leaf("hangs-up.example"), (socket) => socket.end()),
    "garbage.example": await tlsServer(await leaf("garbage.example"), (socket) => socket.end("SSH-2.0-not-http\r\n\r\n")),
    "silent.example": await tlsServer(await leaf("silent.example"), () => undefined),
    "no-handshake.example": await listen(createServer(() => undefined)),
  };
  const rootsFile = join(stage.dir, "roots.pem");
  await writeFile(rootsFile, trusted.certificatePem);
  program = await stage.start({
    TALLYMAN_UPSTREAM_CA_FILE: rootsFile,
    TALLYMAN_CONNECT_TO: Object.entries(ports).map(([host, port]) => `${host}:443:127.0.0.1:${port}`).join(","),
    TALLYMAN_INTERCEPT_HOSTS: [...new Set(GATES.map(({ host }) => `${host}=openai`))].join(","),
    TALLYMAN_UPSTREAM_CONNECT_TIMEOUT: "2s",
    TALLYMAN_UPSTREAM_IDLE_TIMEOUT: "2s",
    TALLYMAN_WEBHOOK_URL: "",
  });
});

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers) server.close();
  await stage.close();
});

const REQUEST = ["--include", "--suppress-connect-headers", "--header", "content-type: application/json", "--data-binary", '{"model":"m","messages":[]}'];

/** Head in lower case, and body, of curl's output. */
function parts(output: Buffer): { head: string; body: string } {
  const text = output.toString();
  const end = text.lastIndexOf("\r\n\r\n");
  return { head: text.slice(0, end).toLowerCase(), body: text.slice(end + 4) };
}

describe.skipIf(!hasCurl).each(["--http1.1", "--http2"])("over curl %s, an upstream", (version) => {
  it.each(GATES.map((gate) => [gate.name, gate.status, gate.code, gate] as const))("%s is %i %s", async (_name, status, code, { host, args = [] }) => {
    const answer = await runCurl([...throughProxy(program), version, ...REQUEST, ...args, `https://${host}/v1/chat/completions?secret=in-the-query`]);
    const { head, body } = parts(answer.body);
    expect([answer.exitCode, answer.status, head.match(/^x-tallyman-error: (.*)$/m)?.[1]?.trim()]).toEqual([0, status, code]);
    // `param` is of OpenAI's own shape.
    expect(JSON.parse(body)).toEqual({ error: { type: "tallyman_error", code, message: expect.any(String), param: null } });
    expect(head).toMatch(version === "--http2" ? /^http\/2 / : /^http\/1\.1 /);
    expect(`${program.stderr}${body}`).not.toContain("in-the-query");
  });
});

describe.skipIf(!hasCurl)("an http:// request to the proxy", () => {
  it.each([
    ["for its own port", () => `http://127.0.0.1:${program.proxyPort}/`, 403, "address_denied"],
    ["for the admin server's port", () => program.adminUrl, 403, "address_denied"],
    ["for the addresses of a cloud's metadata", () => "http://169.254.169.254/latest/meta-data/", 403, "address_denied"],
    ["for a name without addresses", () => "http://nobody.invalid/", 502, "upstream_dns"],
  ])("%s is refused", async (_name, url, status, code) => {
    const answer = await runCurl([...throughProxy(program), "--include", "--noproxy", "", url()]);
    const { head, body } = parts(answer.body);
    expect([answer.status, head.match(/^x-tallyman-error: (.*)$/m)?.[1]?.trim()]).toEqual([status, code]);
    expect(JSON.parse(body)).toEqual({ error: { type: "tallyman_error", code, message: expect.any(String) } });
  });

  it("that calls the proxy as if it were a web server is 400 bad_request", async () => {
    const answer = await runCurl(["--include", program.proxyUrl]);
    expect([answer.status, parts(answer.body).head]).toEqual([400, expect.stringContaining("x-tallyman-error: bad_request")]);
  });
});

describe("a CONNECT", () => {
  it.each([
    ["that is no authority", "constructor", 400, "bad_request"],
    ["to an address that is denied", "169.254.169.254:443", 403, "address_denied"],
    ["to a name without addresses", "tunnel.invalid:443", 502, "upstream_dns"],
  ])("%s is refused", async (_name, target, status, code) => {
    const client = await rawClient(program.proxyPort);
    client.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    await client.sees(`x-tallyman-error: ${code}\r\n`);
    expect(client.received).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    client.destroy();
  });

  it.each([
    ["an absolute form", "GET https://expired.example/ HTTP/1.1\r\nHost: expired.example\r\n\r\n", 400, "bad_request"],
    ["a request that is no HTTP", "GET\r\n\r\n", 400, "bad_request"],
    ["a request without a Host", "GET / HTTP/1.1\r\n\r\n", 400, "bad_request"],
    ["a head that is too large", `GET / HTTP/1.1\r\nX-Long: ${"a".repeat(70_000)}\r\n\r\n`, 431, "head_too_large"],
  ])("does not take %s inside, and says so as the provider does", async (_name, request, status, code) => {
    const client = await tunnelClient(program.proxyPort, "expired.example:443", { ca: readFileSync(program.caFile, "utf8") });
    client.send(request);
    const answer = await client.closed();
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*\\r\\nx-tallyman-error: ${code}\\r\\n`));
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toEqual({ error: { type: "tallyman_error", code, message: expect.any(String), param: null } });
    client.destroy();
  });
});

describe("a proxy with secrets", () => {
  it("answers 407 proxy_auth_required, says how, and lets neither secret nor guess out", async () => {
    const guarded = await stage.start({ TALLYMAN_PROXY_TOKENS: "the-right-secret", TALLYMAN_DATA_DIR: join(stage.dir, "guarded") });
    const guesses = ["", `Proxy-Authorization: Basic ${Buffer.from("agent:the-wrong-secret").toString("base64")}\r\n`];
    const asks = ["CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n", "GET http://api.openai.com/ HTTP/1.1\r\nHost: api.openai.com\r\n"];
    for (const ask of asks) {
      for (const guess of guesses) {
        const client = await rawClient(guarded.proxyPort);
        client.send(`${ask}${guess}\r\n`);
        await client.sees("tallyman_error");
        expect(client.received).toMatch(/^HTTP\/1\.1 407 [^]*proxy-authenticate: Basic realm="tallyman"\r\n/);
        expect(client.received).toMatch(/\r\nx-tallyman-error: proxy_auth_required\r\n/);
        client.destroy();
      }
    }
    expect(`${guarded.stdout}${guarded.stderr}`).not.toMatch(/the-(right|wrong)-secret/);
    expect(await guarded.stop()).toBe(0);
  });
});
