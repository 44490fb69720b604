/**
 * Every route of every connector, through the program, with a mark in all that people say, look for and are called:
 * texts, queries, addresses, names, ids, tokens, file names, in requests and in answers. Nothing that the program keeps,
 * prints, serves or delivers has the mark.
 */

import { readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { ProxyAgent, request } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { ConnectorDefinition, Route } from "../../src/usage/providers/connectors/definition.ts";
import { gmailDefinitions } from "../../src/usage/providers/connectors/gmail.ts";
import { slackDefinitions } from "../../src/usage/providers/connectors/slack.ts";
import { defineX } from "../../src/usage/providers/connectors/x/definition.ts";
import { sampleOf, SAMPLE_PARAMETER } from "../support/connector-sample.ts";
import type { Program } from "../support/program.ts";
import { openStage, settled, type Stage } from "../support/stage.ts";

const MARK = "zebra";
const PARAMETER = `${MARK}param`;
const QUERY = `q=${MARK}query&query=from%3A${MARK}user&token=${MARK}token&user=${MARK}%40mail.example&filename=${MARK}.md`;
const SAID = { text: `${MARK}text`, user: `${MARK}user`, username: `${MARK}user`, email: `${MARK}@mail.example`, title: `${MARK} title`, url: `https://${MARK}.example/`, message: `${MARK}text` };
const MAIL = Buffer.from(`To: "${MARK} name" <${MARK}@mail.example>\r\nSubject: ${MARK}\r\n\r\n${MARK} body`).toString("base64url");

interface Call {
  readonly method: string;
  readonly host: string;
  readonly target: string;
  readonly body: string;
  /** Name and value alternating. */
  readonly headers: readonly string[];
  readonly status: number;
  readonly responseHeaders: readonly string[];
  readonly answer: string;
}

let stage: Stage;
let server: Server;
let program: Program;
let agent: ProxyAgent;
/** What the upstream is to answer, by the number that a call carries. */
const calls: Call[] = [];
const github: ConnectorDefinition = JSON.parse(await readFile(join(import.meta.dirname, "../../docs/examples/github.json"), "utf8"));
const definitions: readonly ConnectorDefinition[] = [defineX(), ...slackDefinitions, ...gmailDefinitions("2026-05"), github];
const hosts = [...new Set(definitions.flatMap(hostOf))];

beforeAll(async () => {
  stage = await openStage();
  const tls = await createSimulatedTls(hosts);
  server = createServer(tls, (incoming, response) => {
    incoming.resume();
    incoming.on("end", () => {
      const call = calls[Number(incoming.headers["x-number"])];
      if (call === undefined) return void response.destroy();
      response.writeHead(call.status, [...call.responseHeaders]);
      response.end(call.answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await writeFile(join(stage.dir, "connector-ca.pem"), tls.ca);
  program = await stage.start({
    TALLYMAN_UPSTREAM_CA_FILE: join(stage.dir, "connector-ca.pem"),
    TALLYMAN_CONNECT_TO: hosts.map((host) => `${host}:443:127.0.0.1:${port}`).join(","),
    TALLYMAN_CONNECTORS_FILE: join(import.meta.dirname, "../../docs/examples/github.json"),
    TALLYMAN_PENDING_FILE: join(stage.dataDir, "pending.json"),
    TALLYMAN_LOG_LEVEL: "trace",
    TALLYMAN_LOG_FORMAT: "json",
    TALLYMAN_X_DEDUPLICATE: "on",
  });
  agent = new ProxyAgent({ uri: program.proxyUrl, requestTls: { ca: await readFile(program.caFile, "utf8") } });
});
afterAll(async () => {
  await agent?.destroy();
  server?.closeAllConnections();
  server?.close();
  await stage?.close();
});

function hostOf(definition: ConnectorDefinition): readonly string[] {
  return definition.hosts.map((host) => host.replace(/^\*/, "w"));
}

/** A success, a failure and a path that is not known, for each route. */
function callsOf(definition: ConnectorDefinition, route: Route): readonly Call[] {
  if (route.body === "frames") return [];
  const [path = "/"] = [route.path].flat();
  const sample = sampleOf(definition, route, path);
  const target = sample.target.replaceAll(SAMPLE_PARAMETER, PARAMETER);
  const [host = ""] = hostOf(definition);
  const success: Call = {
    method: sample.method,
    host,
    target: `${target}${target.includes("?") ? "&" : "?"}${QUERY}`,
    body: ["GET", "HEAD"].includes(sample.method) ? "" : bodyOf(route, sample.requestBody),
    headers: sample.headers.filter((_, at) => !["host", "content-type"].includes(sample.headers[at - (at % 2)] ?? "")),
    status: sample.response.status,
    responseHeaders: [...sample.response.headers, "x-request-id", "r1"],
    answer: marked(sample.response.body),
  };
  const failure = { ...success, status: 403, answer: JSON.stringify({ ...SAID, error: { ...SAID, errors: [{ ...SAID, reason: "rateLimitExceeded" }] } }) };
  return [success, failure, { ...success, target: `${target}/by/${MARK}name/${MARK}@mail.example?${QUERY}` }];
}

function bodyOf(route: Route, made: string): string {
  if (route.expand === "mcp") {
    return JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: Object.keys(route.tools ?? { search: "" })[0], arguments: SAID } });
  }
  const document: unknown = JSON.parse(made === "" ? "{}" : made);
  return JSON.stringify({ ...Object(document), ...SAID, raw: MAIL, message: { raw: MAIL } });
}

/** An answer with everything that is said beside what is counted. */
function marked(body: string): string {
  return body.startsWith("{") ? body.replaceAll(/^\{/gm, `{"said":${JSON.stringify(SAID)},`).replaceAll(/,\}(?=\r?$)/gm, "}") : body;
}

async function send(number: number): Promise<void> {
  const call = calls[number]!;
  const headers = { "content-type": "application/json", authorization: `Bearer ${MARK}token`, cookie: `d=${MARK}cookie`, "x-number": String(number), ...Object.fromEntries(pairsOf(call.headers)) };
  const response = await request(`https://${call.host}${call.target}`, { method: call.method, dispatcher: agent, headers, ...(call.body === "" ? {} : { body: call.body }) });
  await response.body.dump();
}

function pairsOf(list: readonly string[]): readonly (readonly [string, string])[] {
  return list.flatMap((name, at) => (at % 2 === 0 ? [[name, list[at + 1] ?? ""] as const] : []));
}

describe("what people say, look for and are called", () => {
  it("is in nothing that the program keeps, prints, serves or delivers", async () => {
    for (const definition of definitions) for (const route of definition.routes) calls.push(...callsOf(definition, route));
    expect(calls.length).toBeGreaterThan(800);
    for (let from = 0; from < calls.length; from += LANES) await Promise.all(calls.slice(from, from + LANES).map((_, at) => send(from + at)));
    await settled(program);
    const served = await Promise.all(SERVED.map(async (path) => JSON.stringify(await program.get(path))));
    const metrics = await (await request(`${program.adminUrl}/metrics`)).body.text();
    const delivered = stage.receiver.requests.map(({ body }) => body);
    await program.stop();
    const kept = await filesOf(stage.dataDir);
    for (const connector of ["x", "slack", "gmail", "github"]) expect(delivered.join("\n")).toContain(`"meter":"${connector}"`);
    for (const [where, text] of [["files", kept], ["stdout", program.stdout], ["stderr", program.stderr], ["served", served.join("\n")], ["metrics", metrics], ["delivered", delivered.join("\n")]] as const) {
      expect(text.length, where).toBeGreaterThan(0);
      expect(around(text), where).toBe("");
    }
  });
});

/** Calls at once. */
const LANES = 16;

const SERVED = ["/api/v1/events?limit=1000", "/api/v1/flows", "/api/v1/usage?by=connector", "/api/v1/counters", "/readyz"];

async function filesOf(folder: string): Promise<string> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const texts = await Promise.all(files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), "latin1")));
  return texts.join("\n");
}

/** The first place that has the mark, and the base64 of a mail that has it. */
function around(text: string): string {
  const at = [text.toLowerCase().indexOf(MARK), text.indexOf(MAIL.slice(0, 24))].find((place) => place !== -1);
  return at === undefined ? "" : text.slice(Math.max(0, at - 200), at + 100);
}
