/** Slack's own clients through the real program: what they did is what is counted, and nobody learns what they said. */

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { WebAPIPlatformError, WebAPIRateLimitedError } from "@slack/web-api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import type { ConnectorUsageEvent } from "../../src/usage/event-types.ts";
import type { Program } from "../support/program.ts";
import { HISTORY_LENGTH, jsonAnswer, startSimulatedSlack, WORKSPACE, type SimulatedSlack, type SlackCall } from "../support/simulated-slack.ts";
import { APP_TOKEN, BOT_TOKEN, slackClients, type SlackClients } from "../support/slack-clients.ts";
import { openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { startSocketServer, type SocketServer } from "../support/websocket-wire.ts";

/** Nobody listens there. */
const DEAD_HOST = "hooks.slack-gov.com";
const SOCKET_HOST = "wss-primary.slack.com";
const HTTP_HOSTS = ["slack.com", "acme.slack.com", "files.slack.com", "hooks.slack.com", "mcp.slack.com"];

/** What the tests say; no event, log line or row may have any of it. */
const SAID = { text: "quarterly numbers, not yet public", fileText: "the contents of the file\n".repeat(40), fileName: "plan-of-the-merger.txt", hookPath: "XSECRETHOOK", reply: "answer of the command" };

let stage: Stage;
let slack: SimulatedSlack;
let sockets: SocketServer;
let program: Program;
let clients: SlackClients;

beforeAll(async () => {
  stage = await openStage();
  const tls = await createSimulatedTls([...HTTP_HOSTS, SOCKET_HOST]);
  slack = await startSimulatedSlack(tls);
  sockets = await startSocketServer(tls);
  const roots = join(stage.dir, "slack-ca.pem");
  await writeFile(roots, tls.ca);
  program = await stage.start({
    TALLYMAN_UPSTREAM_CA_FILE: roots,
    TALLYMAN_CONNECT_TO: [...HTTP_HOSTS.map((host) => `${host}:443:127.0.0.1:${slack.port}`), `${SOCKET_HOST}:443:127.0.0.1:${sockets.port}`, `${DEAD_HOST}:443:127.0.0.1:1`].join(","),
    TALLYMAN_LOG_LEVEL: "debug",
  });
  clients = slackClients(program);
});
afterAll(async () => {
  await clients?.close();
  await Promise.all([slack?.close(), sockets?.close()]);
  await stage?.close();
});

function isConnectorEvent(event: object): event is ConnectorUsageEvent {
  return "type" in event && event.type === "connector.usage.v1";
}

/** Runs `work` and gives the events that were delivered of it, in order. */
async function eventsOf(work: () => Promise<unknown>): Promise<readonly ConnectorUsageEvent[]> {
  await settled(program);
  const before = stage.receiver.events().length;
  await work();
  await settled(program);
  return stage.receiver.events().slice(before).map((event: object) => event).filter(isConnectorEvent);
}

function counts(events: readonly ConnectorUsageEvent[]): readonly (readonly [string, Readonly<Record<string, number>>])[] {
  return events.map(({ data }) => [data.route, data.usage] as const);
}

function lastCall(pathEnd: string): SlackCall {
  const call = slack.calls.findLast(({ path }) => path.endsWith(pathEnd));
  if (call === undefined) throw new Error(`nobody called ${pathEnd}`);
  return call;
}

describe("@slack/web-api through the program", () => {
  it("counts a message that is posted, as one event with Slack's request id", async () => {
    const { postMessage: post } = clients.web.chat;
    const events = await eventsOf(() => post({ channel: WORKSPACE.channel, text: SAID.text, blocks: [{ type: "section", text: { type: "mrkdwn", text: SAID.text } }] }));
    expect(counts(events)).toEqual([["chat.postMessage", { "messages.sent": 1 }]]);
    expect(events[0]!.data).toMatchObject({ meter: "slack", host: "slack.com", status: 200, completeness: "complete", usage_source: "provider", request_id: expect.stringMatching(/^r\d+$/), cost: null });
  });

  it("counts the messages of each page that is read", async () => {
    const events = await eventsOf(async () => {
      const pages = clients.web.paginate("conversations.history", { channel: WORKSPACE.channel, limit: 3 });
      for await (const _page of pages);
    });
    expect(counts(events)).toEqual([3, 3, 1].map((read) => ["conversations.history", { "messages.read": read }]));
    expect(HISTORY_LENGTH).toBe(7);
  });

  it("counts the hits on the page of a search, not all that there are", async () => {
    const events = await eventsOf(() => clients.web.search.messages({ query: SAID.text }));
    expect(counts(events)).toEqual([["search.messages", { "search.requests": 1, "messages.read": 2 }]]);
  });

  it("counts an upload once, by its three calls", async () => {
    const contents = [SAID.fileText, "short"];
    const events = await eventsOf(() =>
      clients.web.filesUploadV2({
        channel_id: WORKSPACE.channel,
        initial_comment: SAID.text,
        file_uploads: contents.map((content, at) => ({ file: Buffer.from(content), filename: `${at}-${SAID.fileName}` })),
      }),
    );
    const sent = contents.map((content) => ["files.upload.bytes", { "files.upload_bytes": content.length }]);
    expect(counts(events.slice(0, -1))).toEqual(expect.arrayContaining(sent));
    expect(counts(events.slice(-1))).toEqual([["files.completeUploadExternal", { "files.uploaded": 2, "messages.sent": 1 }]]);
    expect(events).toHaveLength(3);
    expect(events.every(({ data }) => data.usage_source === "provider")).toBe(true);
    const uploads = slack.calls.filter(({ path }) => path.startsWith("/upload/")).map(({ body }) => body.toString());
    expect(uploads).toHaveLength(2);
    for (const content of contents) expect(uploads.some((body) => body.includes(`\r\n\r\n${content}\r\n--`)), content.slice(0, 20)).toBe(true);
  });

  it("counts nothing of errors, which come with status 200, and of a refusal to go so fast", async () => {
    slack.answerNext("chat.postMessage", jsonAnswer({ ok: false, error: "missing_scope", needed: "chat:write", provided: "users:read" }));
    slack.answerNext("chat.postMessage", jsonAnswer({ ok: false, error: "ratelimited" }, 429, { "retry-after": "30" }));
    const { postMessage } = clients.web.chat;
    const refusal = (): Promise<unknown> => postMessage({ channel: WORKSPACE.channel, text: SAID.text }).catch((error: unknown) => error);
    const errors: unknown[] = [];
    expect(await eventsOf(async () => void errors.push(await refusal(), await refusal()))).toEqual([]);
    expect(errors[0]).toBeInstanceOf(WebAPIPlatformError);
    expect(errors[1]).toBeInstanceOf(WebAPIRateLimitedError);
    expect(errors[1]).toMatchObject({ retryAfter: 30 });
    expect(lastCall("chat.postMessage").answer.status).toBe(429);
  });

  it("passes every body on as it came, both ways", () => {
    const web = slack.calls.filter(({ headers }) => headers["user-agent"]?.includes("web-api"));
    expect(web).toHaveLength(clients.seen.length);
    expect(web.length).toBeGreaterThan(8);
    for (const { url, sent, received } of clients.seen) {
      const call = web.find(({ path, body, answer }) => url.endsWith(path) && (sent === undefined || sent === body.toString()) && received.equals(answer.body));
      expect(call, `${url} ${sent}`).toBeDefined();
    }
  });
});

describe("calls without a client of Slack's", () => {
  const form = { "content-type": "application/x-www-form-urlencoded" };

  it("counts a call with its token in the form, of a workspace's own host", async () => {
    const body = new URLSearchParams({ token: BOT_TOKEN, channel: WORKSPACE.channel, text: SAID.text }).toString();
    const events = await eventsOf(() => clients.fetch("https://acme.slack.com/api/chat.postMessage", { method: "POST", headers: form, body }));
    expect(counts(events)).toEqual([["chat.postMessage", { "messages.sent": 1 }]]);
    expect(lastCall("chat.postMessage").body.toString()).toBe(body);
  });

  it("counts webhooks, workflows and response URLs by routes that do not have their paths", async () => {
    const post = (path: string, body: object): Promise<Response> =>
      clients.fetch(`https://hooks.slack.com${path}/${SAID.hookPath}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    const events = await eventsOf(async () => {
      await post("/services/T0/B0", { text: SAID.text });
      await post("/triggers/T0/1", { name: SAID.text });
      await post("/commands/T0/1", { text: SAID.text });
      await post("/actions/T0/1", { text: SAID.text, replace_original: true });
      await post("/elsewhere", {});
    });
    expect(counts(events)).toEqual([
      ["webhooks.post", { "messages.sent": 1 }],
      ["workflows.trigger", { "workflows.triggered": 1 }],
      ["response_urls.post", { "messages.sent": 1 }],
      ["response_urls.post", { "messages.updated": 1 }],
      ["webhooks.other", { "requests.unmatched": 1 }],
    ]);
  });

  it("counts a tool call of the hosted MCP server", async () => {
    slack.answerNext("/mcp", jsonAnswer({ jsonrpc: "2.0", id: 1, result: { content: [{ type: "text", text: WORKSPACE.text }] } }));
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "slack_send_message", arguments: { message: SAID.text } } });
    const headers = { "content-type": "application/json", authorization: `Bearer ${BOT_TOKEN}` };
    const [event, ...others] = await eventsOf(() => clients.fetch("https://mcp.slack.com/mcp", { method: "POST", headers, body }));
    expect(event?.data).toMatchObject({ route: "mcp", usage: { "mcp.tool_calls": 1 }, dims: { tool: "slack_send_message" } });
    expect(others).toEqual([]);
  });

  it("says nothing of the path where the host cannot be reached", async () => {
    const events = await eventsOf(async () => {
      const response = await clients.fetch(`https://${DEAD_HOST}/services/T0/B0/${SAID.hookPath}`, { method: "POST", body: "{}" });
      expect(response.status).toBe(502);
      expect(await response.text()).not.toContain(SAID.hookPath);
    });
    expect(counts(events)).toEqual([]);
  });

  it("counts a download and its bytes", async () => {
    const events = await eventsOf(async () => {
      const response = await clients.fetch(`https://files.slack.com/files-pri/T1-F1/download/${SAID.fileName}`, { headers: { authorization: `Bearer ${BOT_TOKEN}` } });
      expect(await response.text()).toBe("of the file");
    });
    expect(counts(events)).toEqual([["files.download", { "files.download_bytes": 11, "files.downloaded": 1 }]]);
  });
});

describe("@slack/socket-mode through the program", () => {
  it("counts what comes in envelopes and the reply that users see", async () => {
    const { socket } = clients;
    const heard: string[] = [];
    socket.on("message", ({ ack, event }) => (heard.push(event.text), ack()));
    socket.on("slash_commands", ({ ack, body }) => (heard.push(body.command), ack({ text: SAID.reply })));
    socket.on("interactive", ({ ack, body }) => (heard.push(body.type), ack()));
    const events = await eventsOf(async () => {
      const started = socket.start();
      const peer = await sockets.next();
      peer.accept({ deflate: true });
      await peer.send({ type: "hello", num_connections: 1, connection_info: { app_id: "A1" } });
      await started;
      const event = { type: "message", text: WORKSPACE.text, user: WORKSPACE.user };
      await peer.send({ type: "events_api", envelope_id: "e1", accepts_response_payload: false, payload: { event }, retry_attempt: 0 });
      await peer.send({ type: "events_api", envelope_id: "e2", accepts_response_payload: false, payload: { event }, retry_attempt: 1, retry_reason: "timeout" });
      await peer.send({ type: "slash_commands", envelope_id: "e3", accepts_response_payload: true, payload: { command: "/x", text: WORKSPACE.text } });
      await peer.send({ type: "interactive", envelope_id: "e4", accepts_response_payload: true, payload: { type: "block_actions" } });
      await until(() => peer.received.length === 4, "four acknowledgements");
      expect(peer.received.map((text) => JSON.parse(text).envelope_id)).toEqual(["e1", "e2", "e3", "e4"]);
      expect(JSON.parse(peer.received[2]!).payload).toEqual({ text: SAID.reply });
      await peer.send({ type: "disconnect", reason: "refresh_requested" });
      await until(() => peer.isClosed, "the end of the socket");
    });
    expect(heard).toEqual([WORKSPACE.text, WORKSPACE.text, "/x", "block_actions"]);
    const sums: Record<string, number> = {};
    for (const { data } of events) for (const [category, count] of Object.entries(data.usage)) sums[category] = (sums[category] ?? 0) + count;
    expect(sums).toEqual({ "events.received": 4, "messages.sent": 1 });
    expect(events.map(({ data }) => [data.dims, data.usage])).toEqual(expect.arrayContaining([
      [{ type: "events_api", retry: "false" }, { "events.received": 1 }],
      [{ type: "events_api", retry: "true" }, { "events.received": 1 }],
      [{ type: "slash_commands", retry: "false" }, { "events.received": 1 }],
      [{ type: "interactive", retry: "false" }, { "events.received": 1 }],
      [{ via: "socket_ack" }, { "messages.sent": 1 }],
    ]));
    expect(events).toHaveLength(5);
    expect(new Set(events.map(({ data }) => data.route))).toEqual(new Set(["socket"]));
    expect(new Set(events.map(({ data }) => data.flow_id)).size).toBe(1);
  });
});

describe("a socket that stays open", () => {
  it("is counted while it goes on", async () => {
    const own = slackClients(program);
    const { socket } = own;
    let heard = 0;
    socket.on("message", ({ ack }) => ((heard += 1), ack()));
    const events = await eventsOf(async () => {
      const before = stage.receiver.events().length;
      const started = socket.start();
      const peer = await sockets.next();
      peer.accept();
      await peer.send({ type: "hello", num_connections: 1, connection_info: { app_id: "A1" } });
      await started;
      for (let i = 0; i < 600; i++) await peer.send({ type: "events_api", envelope_id: `many-${i}`, accepts_response_payload: false, payload: { event: { type: "message" } } });
      await until(() => stage.receiver.events().length > before, "an event of the open socket");
      await until(() => peer.received.length === 600, "600 acknowledgements");
      await peer.send({ type: "disconnect", reason: "refresh_requested" });
      await until(() => peer.isClosed, "the end of the socket");
    });
    await own.close();
    expect(heard).toBe(600);
    expect(events.map(({ data }) => data.usage["events.received"]).reduce((sum = 0, count = 0) => sum + count, 0)).toBe(600);
    expect(events.length).toBeGreaterThan(1);
    expect(events.map(({ data }) => data.sequence).toSorted((a, b) => a - b)).toEqual(events.map((_, at) => at));
  });
});

describe("what was said", () => {
  it("is in no event, log line, metric and file of the program", async () => {
    await settled(program);
    const texts = [program.stdout, program.stderr, JSON.stringify(stage.receiver.requests), await textOf("/metrics"), await textOf("/api/v1/events?limit=1000"), await textOf("/api/v1/usage?by=connector")];
    for (const name of await readdir(stage.dataDir, { recursive: true })) texts.push(await readFile(join(stage.dataDir, name), "latin1").catch(() => ""));
    const all = texts.join("\n");
    expect(all).toContain("conversations.history");
    const secrets = [BOT_TOKEN, APP_TOKEN, ...Object.values(SAID), ...Object.values(WORKSPACE), "SecretUploadPath", "xoxb-", "xapp-"];
    for (const secret of secrets) expect(all.includes(secret.slice(0, 24)), secret.slice(0, 24)).toBe(false);
  });
});

async function textOf(path: string): Promise<string> {
  const response = await fetch(program.adminUrl + path);
  return response.text();
}
