/** What the real program says when it cannot start, and what it bears from its clients once it has. */

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { apiClient, CALLS } from "../support/api-client.ts";
import { runCommand, type CommandOptions, type Ended } from "../support/program.ts";
import { rawClient, startRawUpstream, tunnelClient } from "../support/raw-peers.ts";
import { GATEWAY, openStage, settled } from "../support/stage.ts";

/** Nobody: files of root are closed to it, as those of another user are to a user. */
const UNPRIVILEGED = 65534;
const isRoot = process.getuid?.() === 0;

let root: string;
let dir: string;
let occupied: Server;
let occupiedPort: number;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tallyman-start-"));
  await chmod(root, 0o755);
  occupied = createServer().listen(0, "127.0.0.1");
  await once(occupied, "listening");
  const address = occupied.address();
  occupiedPort = typeof address === "object" && address !== null ? address.port : 0;
});
afterAll(async () => {
  occupied?.close();
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  dir = await mkdtemp(join(root, "case-"));
  await chmod(dir, 0o777);
  await mkdir(join(dir, "tmp"));
  await chmod(join(dir, "tmp"), 0o777);
});

/** Starts `serve`, which is expected to end by itself. */
function serve(env: NodeJS.ProcessEnv = {}, options: CommandOptions = {}): Promise<Ended> {
  return runCommand(["serve"], {
    ...options,
    env: {
      TALLYMAN_PORT: "0",
      TALLYMAN_ADMIN_PORT: "0",
      TALLYMAN_CA_DIR: join(dir, "certs"),
      TALLYMAN_DATA_DIR: join(dir, "data"),
      TMPDIR: join(dir, "tmp"),
      ...env,
    },
  });
}

/** One message for a person: no banner, no stack, no log record, nothing left in the temporary folder. */
async function expectRefusal(ended: Ended, code: number, message: RegExp): Promise<void> {
  expect([ended.code, ended.stdout], ended.stderr).toEqual([code, ""]);
  expect(ended.stderr).toMatch(/^tallyman: /);
  expect(ended.stderr).toMatch(message);
  expect(ended.stderr).not.toMatch(/\n\s+at |\{"level"/);
  expect(await readdir(join(dir, "tmp"))).toEqual([]);
}

function expectOneLine({ stderr }: Ended): void {
  expect(stderr.trimEnd().split("\n"), stderr).toHaveLength(1);
}

describe("a start that fails", () => {
  it("for a port in use names the port and the setting", async () => {
    const ended = await serve({ TALLYMAN_PORT: String(occupiedPort) });
    await expectRefusal(ended, 1, new RegExp(`127\\.0\\.0\\.1:${occupiedPort} is in use\\. Set TALLYMAN_PORT`));
    expectOneLine(ended);
  });

  it("for an admin port in use names that, and the directories are good for the next start", async () => {
    const ended = await serve({ TALLYMAN_ADMIN_PORT: String(occupiedPort) });
    await expectRefusal(ended, 1, new RegExp(`Port ${occupiedPort} on 127\\.0\\.0\\.1 is in use\\. Set TALLYMAN_ADMIN_PORT`));
    expectOneLine(ended);
    // Closed as it should be: no write-ahead log is left.
    expect(await readdir(join(dir, "data"))).toEqual(["deployment-id", "tallyman.db"]);
    const report = await runCommand(["usage", "--json"], { env: { TALLYMAN_DATA_DIR: join(dir, "data"), TALLYMAN_CA_DIR: join(dir, "certs") } });
    expect([report.code, JSON.parse(report.stdout)]).toMatchObject([0, { rows: [] }]);
  });

  it.runIf(isRoot)("for a data directory that it may not write names the directory", async () => {
    await mkdir(join(dir, "data"), { mode: 0o755 });
    const ended = await serve({}, { uid: UNPRIVILEGED });
    await expectRefusal(ended, 1, /The data directory \S+data cannot be written.*TALLYMAN_DATA_DIR/);
    expectOneLine(ended);
  });

  it("for a data directory that is a file names it", async () => {
    await writeFile(join(dir, "data"), "not a directory");
    const ended = await serve();
    await expectRefusal(ended, 1, /data directory \S+data .*TALLYMAN_DATA_DIR/);
    expectOneLine(ended);
    expect(await readFile(join(dir, "data"), "utf8")).toBe("not a directory");
  });

  it("for a CA file that is no certificate names the file", async () => {
    await mkdir(join(dir, "certs"));
    await writeFile(join(dir, "certs", "ca.pem"), "not a certificate");
    await writeFile(join(dir, "certs", "ca.key"), "not a key");
    const ended = await serve();
    await expectRefusal(ended, 1, /certs\/ca\.(pem|key)/);
    expectOneLine(ended);
    expect(await readdir(dir)).not.toContain("data");
  });

  it("for a CA certificate without its key says which file is missing", async () => {
    await makeAuthority("certs");
    await rm(join(dir, "certs", "ca.key"));
    await expectRefusal(await serve(), 1, /certs\/ca\.key/);
  });

  it("for a CA key of another certificate says that they do not belong together", async () => {
    await makeAuthority("certs");
    await makeAuthority("others");
    const key = await readFile(join(dir, "others", "ca.key"), "utf8");
    const block = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^]+?-----END [A-Z ]*PRIVATE KEY-----\n/.exec(key)?.[0] ?? "";
    expect(block).not.toBe("");
    await writeFile(join(dir, "certs", "ca.key"), block);
    const ended = await serve();
    await expectRefusal(ended, 1, /certs\/ca\.(pem|key).*(not|another|belong)/);
    expectOneLine(ended);
  });

  it.runIf(isRoot)("for a CA key that it may not read names the file", async () => {
    await makeAuthority("certs");
    await chmod(join(dir, "certs"), 0o755);
    await chown(join(dir, "certs"), UNPRIVILEGED, UNPRIVILEGED);
    const ended = await serve({}, { uid: UNPRIVILEGED });
    await expectRefusal(ended, 1, /certs\/ca\.key/);
    expectOneLine(ended);
  });

  it("for wrong settings lists every one of them and exits 2, before anything is made", async () => {
    const ended = await serve({
      TALLYMAN_PORT: "70000",
      TALLYMAN_DRAIN_TIMEOUT: "soon",
      TALLYMAN_QUEUE_MAX_EVENTS: "0",
      TALLYMAN_CONNECT_TO: "nowhere",
      TALLYMAN_WEBHOOK_SECRET: "hunter2",
      TALLYMAN_UPSTREAM_CA_FILE: join(dir, "missing.pem"),
      TALLYMAN_DURABILITY: "strct",
      TALLYMAN_HOST: "0.0.0.0",
    });
    await expectRefusal(ended, 2, /^tallyman: 8 settings are wrong\.\n/);
    for (const name of ["PORT is \"70000\"", "DRAIN_TIMEOUT", "QUEUE_MAX_EVENTS", "CONNECT_TO", "WEBHOOK_SECRET", "UPSTREAM_CA_FILE", "DURABILITY", "PROXY_TOKENS is not set"]) {
      expect(ended.stderr).toContain(`\n  TALLYMAN_${name}`);
    }
    expect(ended.stderr).not.toContain("hunter2");
    expect(await readdir(dir)).toEqual(["tmp"]);
  });

  it("for a meter that does not exist names the nearest one and exits 2", async () => {
    const ended = await serve({ TALLYMAN_INTERCEPT_HOSTS: "gateway.example=opneai" });
    await expectRefusal(ended, 2, /TALLYMAN_INTERCEPT_HOSTS .*opneai.*openai/);
    expectOneLine(ended);
  });

  it("for a file of prices that is none names the file and exits 2", async () => {
    await writeFile(join(dir, "prices.json"), "{");
    const ended = await serve({ TALLYMAN_PRICES_FILE: join(dir, "prices.json") });
    await expectRefusal(ended, 2, /TALLYMAN_PRICES_FILE .*prices\.json/);
    expectOneLine(ended);
  });

  it("for a file of connectors with faults lists every one of them with its route and exits 2", async () => {
    const route = { id: "things.list", method: "get", path: "things", meters: [{ category: "Things", count: 1 }] };
    await writeFile(join(dir, "connectors.json"), JSON.stringify({ id: "acme", revision: "2026-11-28", hosts: ["api.acme.example"], routes: [route] }));
    const ended = await serve({ TALLYMAN_CONNECTORS_FILE: join(dir, "connectors.json") });
    await expectRefusal(ended, 2, /TALLYMAN_CONNECTORS_FILE .*connectors\.json/);
    for (const fault of ['method "get"', 'path "things"', 'category "Things"']) expect(ended.stderr).toContain(`acme, route things.list: ${fault}`);
  });
});

async function makeAuthority(name: string): Promise<void> {
  const made = await runCommand(["ca", "path"], { env: { TALLYMAN_CA_DIR: join(dir, name) } });
  expect(made.code, made.stderr).toBe(0);
}

/** What no TLS server can take for the beginning of a record, of SSLv2 neither, and wait for the rest of. */
const NO_TLS = Buffer.concat([Buffer.alloc(5), randomBytes(495)]);

describe("a program that runs", () => {
  it("survives whatever bytes arrive at its port, and goes on metering", async () => {
    const stage = await openStage();
    try {
      const program = await stage.start();
      for (const bytes of HOSTILE) {
        const client = await rawClient(program.proxyPort);
        client.send(bytes);
        client.socket.end();
        await client.closed();
        client.destroy();
      }
      const answers = await Promise.all(BAD_TARGETS.map((target) => answerTo(program.proxyPort, `CONNECT ${target} HTTP/1.1\r\nHost: x\r\n\r\n`)));
      expect(answers.map((answer) => answer.slice(0, 12))).toEqual(BAD_TARGETS.map(() => "HTTP/1.1 400"));
      const large = await answerTo(program.proxyPort, `GET http://api.openai.com/ HTTP/1.1\r\nHost: api.openai.com\r\nX-Large: ${"x".repeat(70_000)}\r\n\r\n`);
      expect(large).toMatch(/^HTTP\/1\.1 431 /);
      const inside = await answerTo(program.proxyPort, `CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n`, NO_TLS.toString("latin1"));
      expect(inside).toMatch(/^HTTP\/1\.1 200 /);
      const client = apiClient(program);
      expect((await client.call(CALLS.chat)).status).toBe(200);
      await client.close();
      expect(await stage.receives(1)).toHaveLength(1);
      expect(await program.stop()).toBe(0);
      expect(program.stderr).not.toMatch(/\n\s+at /);
      expect(program.stderr).not.toContain("a defect in tallyman");
    } finally {
      await stage.close();
    }
  });

  it("survives whatever an upstream answers, and clients that leave in the middle of an upload", async () => {
    const stage = await openStage();
    let next = 0;
    const upstream = await startRawUpstream({ certificatePem: stage.tls.cert, keyPem: stage.tls.key, notAfterMs: Infinity }, ({ socket }) => {
      socket.end(Buffer.from(ANSWERS[next++ % ANSWERS.length] ?? "", "latin1"));
    });
    try {
      const program = await stage.start({
        TALLYMAN_CONNECT_TO: `${GATEWAY}:443:127.0.0.1:${upstream.port},closed.example:443:127.0.0.1:1,${stage.env["TALLYMAN_CONNECT_TO"]}`,
        TALLYMAN_INTERCEPT_HOSTS: `${GATEWAY}=anthropic,closed.example=anthropic`,
      });
      const ca = await readFile(program.caFile, "utf8");
      for (const method of ["GET", "HEAD", "POST"]) {
        for (let i = 0; i < ANSWERS.length; i++) {
          const client = await tunnelClient(program.proxyPort, `${GATEWAY}:443`, { ca });
          client.send(`${method} /v1/messages HTTP/1.1\r\nHost: ${GATEWAY}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
          await client.closed();
          client.destroy();
        }
      }
      for (let i = 0; i < 20; i++) {
        const client = await tunnelClient(program.proxyPort, "closed.example:443", { ca });
        client.send("POST /v1/messages HTTP/1.1\r\nHost: closed.example\r\nContent-Length: 200\r\n\r\n{");
        // Half of them leave before the upstream has turned out to be unreachable, half when they have read of it.
        if (i % 2 === 0) await client.sees("upstream_unreachable");
        client.destroy();
      }
      const client = apiClient(program);
      expect((await client.call(CALLS.chat)).status).toBe(200);
      await client.close();
      await settled(program);
      expect(await program.stop(), program.stderr).toBe(0);
      expect(program.stderr).not.toContain("a defect in tallyman");
    } finally {
      await stage.close();
      await upstream.close();
    }
  });
});

/** Sends a head, then further bytes once it was answered; gives what came until the end of the connection or of the answer's head. */
async function answerTo(port: number, head: string, then?: string): Promise<string> {
  const client = await rawClient(port);
  client.send(head);
  const answer = await client.sees("\r\n\r\n");
  if (then !== undefined) {
    client.send(then);
    await client.closed();
  }
  client.destroy();
  return answer;
}

const BAD_TARGETS = ["constructor", "api.openai.com", "api.openai.com:0", "api.openai.com:99999", "x:y:z:443", "[::1:443", ":443", "user@api.openai.com:443", "api..openai.com:443"];

const HOSTILE = [
  "\r\n\r\n",
  "\0\0\0\0",
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  "CONNECT\r\n\r\n",
  "CONNECT constructor:443 HTTP/1.1\r\n\r\n",
  "CONNECT __proto__:443 HTTP/1.1\r\nHost: __proto__\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: x:99999\r\n\r\n",
  "GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
  "POST http://api.openai.com/ HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  "GET http://api.openai.com/ HTTP/9.9\r\n\r\n",
  randomBytes(2000).toString("latin1"),
];

/** What no upstream should say, and what few clients expect. */
const ANSWERS = [
  "",
  "garbage",
  "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz",
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTrailer: X-Sum\r\n\r\nok",
  "HTTP/1.1 200 \xff\xfe\r\nContent-Length: 2\r\n\r\nok",
  "HTTP/1.1 304 Nichts Ge\xe4ndertes\r\n\r\n",
  "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00",
  "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
  "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnotgzip",
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {\n\ndata: \xff\xfe\n\n",
  "HTTP/1.0 200 OK\r\n\r\nuntil the end",
  `HTTP/1.1 200 OK\r\nX-Large: ${"x".repeat(100_000)}\r\nContent-Length: 0\r\n\r\n`,
];
