/** Google's own Gmail client through the real program: what it does is counted as Google bills it, and nobody learns what it said. */

import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { Agent } from "node:https";
import { join } from "node:path";
import { Readable } from "node:stream";
import { connect } from "node:tls";
import { gunzipSync } from "node:zlib";
import { auth, gmail, type gmail_v1 } from "@googleapis/gmail";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createSimulatedTls } from "../../src/demo/simulated-tls.ts";
import { without } from "../../src/flow/headers.ts";
import type { Program } from "../support/program.ts";
import { GMAIL_HOST, MAILBOX_TEXT, startSimulatedGmail, type GmailExchange, type SimulatedGmail } from "../support/simulated-gmail.ts";
import { openStage, settled, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

const TOKEN = "ya29.a-token-of-no-value";
/** What the client sends and nobody may keep. */
const WORDS = { subject: "merger-in-march", body: "we-buy-them-on-friday", query: "salary-of-the-board", person: "jane.doe", name: "Jane-Doe-Senior" };
const MESSAGE = [
  `From: ${WORDS.person}@sender.example`,
  `To: "${WORDS.name}" <${WORDS.person}@one.example>, bob@two.example`,
  "Cc: BOB@two.example, carol@three.example",
  `Subject: ${WORDS.subject}`,
  "Content-Type: text/plain; charset=utf-8",
  "",
  `${WORDS.body} `.repeat(400),
].join("\r\n");
const UPLOAD = `https://${GMAIL_HOST}/upload/gmail/v1/users/me/messages/send?uploadType=resumable`;

/** Google's client as anybody uses it; `agent` says which way its connections go. */
class Mailbox {
  readonly api: gmail_v1.Gmail;
  private readonly oauth = new auth.OAuth2();
  private readonly agent: Agent;

  constructor(agent: Agent) {
    this.agent = agent;
    this.oauth.setCredentials({ access_token: TOKEN });
    this.api = gmail({ version: "v1", auth: this.oauth, agent, retry: false });
  }

  /** What the client has no method for: batches, and uploads in pieces. */
  call(options: { readonly url: string; readonly method: "POST" | "PUT"; readonly headers: Record<string, string>; readonly data?: string }) {
    return this.oauth.request<string>({ ...options, agent: this.agent, responseType: "text", retry: false, validateStatus: (status) => status < 400 });
  }

  async inPieces(message: string): Promise<string> {
    const bytes = Buffer.byteLength(message);
    const headers = { "x-upload-content-type": "message/rfc822", "x-upload-content-length": String(bytes) };
    const started = await this.call({ url: UPLOAD, method: "POST", headers });
    const url = started.headers.get("location") ?? "";
    const half = message.indexOf("\r\n\r\n") + 100;
    const type = { "content-type": "message/rfc822" };
    const first = await this.call({ url, method: "PUT", headers: { ...type, "content-range": `bytes 0-${half - 1}/${bytes}` }, data: message.slice(0, half) });
    if (first.status !== 308) throw new Error(`the first piece was answered with ${first.status}`);
    const last = await this.call({ url, method: "PUT", headers: { ...type, "content-range": `bytes ${half}-${bytes - 1}/${bytes}` }, data: message.slice(half) });
    return last.data;
  }

  async batch(paths: readonly string[]): Promise<string> {
    const parts = paths.map((path, at) => `--of_two\r\nContent-Type: application/http\r\nContent-ID: <item${at}>\r\n\r\nGET ${path}\r\n\r\n\r\n`);
    const headers = { "content-type": "multipart/mixed; boundary=of_two" };
    return (await this.call({ url: `https://${GMAIL_HOST}/batch/gmail/v1`, method: "POST", headers, data: `${parts.join("")}--of_two--` })).data;
  }
}

/** The data of the events that the receiver took, and what of it a test looks at. */
interface Counted {
  readonly route: string;
  readonly usage: Readonly<Record<string, number>>;
  readonly completeness: string;
  readonly usage_source: string;
  readonly dims?: Readonly<Record<string, string>>;
  readonly cost: unknown;
}

let stage: Stage;
let settings: Record<string, string>;
let program: Program;
let google: SimulatedGmail;
let direct: Mailbox;
let proxied: Mailbox;

beforeAll(async () => {
  const tls = await createSimulatedTls([GMAIL_HOST]);
  google = await startSimulatedGmail(tls);
  stage = await openStage();
  const caFile = join(stage.dir, "google-ca.pem");
  await writeFile(caFile, tls.ca);
  settings = { TALLYMAN_UPSTREAM_CA_FILE: caFile, TALLYMAN_CONNECT_TO: `${GMAIL_HOST}:443:127.0.0.1:${google.port}`, TALLYMAN_LOG_LEVEL: "trace" };
  program = await stage.start(settings);
  proxied = mailboxBehind(program);
  const straight = new Agent({ ca: tls.ca });
  straight.createConnection = () => connect({ host: "127.0.0.1", port: google.port, servername: GMAIL_HOST, ca: tls.ca });
  direct = new Mailbox(straight);
});
afterAll(async () => {
  await stage?.close();
  google?.close();
});

function mailboxBehind({ caFile, proxyUrl }: Program): Mailbox {
  return new Mailbox(new Agent({ ca: readFileSync(caFile, "utf8"), proxyEnv: { HTTPS_PROXY: proxyUrl } }));
}

/** Does the same straight and through the proxy: what Google sees and what the client gets is the same, byte for byte. Gives what was counted. */
async function counted<T>(act: (mailbox: Mailbox) => Promise<T>): Promise<readonly Counted[]> {
  await settled(program);
  const [seen, told] = [google.exchanges.length, stage.receiver.events().length];
  const plain = await act(direct);
  const between = google.exchanges.length;
  expect(await act(proxied)).toEqual(plain);
  const exchanges = google.exchanges.slice(between);
  expect(exchanges.map(onTheWire)).toEqual(google.exchanges.slice(seen, between).map(onTheWire));
  await settled(program);
  return stage.receiver.events().slice(told).map(countedOf);
}

/** All of an exchange, but for what concerns one connection. The boundary of a multipart body is another one each time. */
function onTheWire({ method, target, rawHeaders, requestBody, status, responseBody }: GmailExchange): unknown {
  const boundary = /boundary=(\S+)/.exec(rawHeaders.join("\n"))?.[1] ?? "\0";
  const headers = without(rawHeaders, "connection").map((value) => value.replaceAll(boundary, "BOUNDARY"));
  return { method, target, headers, body: requestBody.toString("latin1").replaceAll(boundary, "BOUNDARY"), status, responseBody: responseBody.toString("latin1") };
}

function countedOf(event: Readonly<Record<string, unknown>>): Counted {
  const isCounted = (data: unknown): data is Counted => typeof data === "object" && data !== null && "route" in data && "usage" in data && "meter" in data && data.meter === "gmail";
  const { type, data } = event;
  if (type !== "connector.usage.v1" || !isCounted(data)) throw new TypeError(`no event of Gmail: ${JSON.stringify(event)}`);
  return data;
}

/** Route and usage of each event, whole; all of them complete and as Google said. */
function expectCounts(events: readonly Counted[], expected: readonly (readonly [route: string, usage: Counted["usage"]])[]): void {
  expect(events.map(({ route, usage }) => [route, usage])).toEqual(expected);
  for (const { completeness, usage_source } of events) expect([completeness, usage_source]).toEqual(["complete", "provider"]);
}

const raw = Buffer.from(MESSAGE).toString("base64url");

describe("@googleapis/gmail through the program", () => {
  it.each<[string, (mailbox: Mailbox) => Promise<unknown>]>([
    ["raw JSON", ({ api }) => api.users.messages.send({ userId: "me", requestBody: { raw } }).then(({ data }) => data)],
    ["media", ({ api }) => api.users.messages.send({ userId: "me", media: { mimeType: "message/rfc822", body: MESSAGE } }).then(({ data }) => data)],
    ["media from a stream, with metadata", ({ api }) => api.users.messages.send({ userId: "me", requestBody: { threadId: "t9" }, media: { mimeType: "message/rfc822", body: Readable.from([MESSAGE]) } }).then(({ data }) => data)],
  ])("counts a message that is sent as %s, and its recipients", async (_kind, act) => {
    expectCounts(await counted(act), [["messages.send", { "messages.sent": 1, recipients: 3, quota_units: 100 }]]);
  });

  it("counts an upload in pieces once, with the recipients of its first piece", async () => {
    expectCounts(await counted((mailbox) => mailbox.inPieces(MESSAGE)), [["messages.send", { "messages.sent": 1, recipients: 3, quota_units: 100 }]]);
  });

  it("counts a draft, and its recipients when it is sent", async () => {
    const events = await counted(async ({ api }) => {
      const { data } = await api.users.drafts.create({ userId: "me", requestBody: { message: { raw } } });
      return (await api.users.drafts.send({ userId: "me", requestBody: { id: data.id ?? "" } })).data;
    });
    expectCounts(events, [
      ["drafts.create", { "drafts.written": 1, quota_units: 10 }],
      ["drafts.send", { "messages.sent": 1, recipients: 3, quota_units: 100 }],
    ]);
  });

  it("counts lists, also empty ones and partial ones", async () => {
    const events = await counted(async ({ api }) => {
      const full = await api.users.messages.list({ userId: "me", q: WORDS.query, maxResults: 100 });
      const empty = await api.users.messages.list({ userId: `${WORDS.person}@sender.example`, q: WORDS.query, maxResults: 0 });
      const partial = await api.users.messages.list({ userId: "me", fields: "nextPageToken" });
      return [full.data, empty.data, partial.data];
    });
    expectCounts(events, [
      ["messages.list", { "messages.listed": 100, quota_units: 5 }],
      ["messages.list", { quota_units: 5 }],
      ["messages.list", { quota_units: 5 }],
    ]);
    expect(events.map(({ dims }) => dims)).toEqual([undefined, undefined, { partial_fields: "true" }]);
  });

  it("counts messages and threads that are read", async () => {
    const events = await counted(async ({ api }) => {
      const one = await api.users.messages.get({ userId: "me", id: "m1", format: "full" });
      const thread = await api.users.threads.get({ userId: "me", id: "t1" });
      return [one.data, thread.data];
    });
    expectCounts(events, [
      ["messages.get", { "messages.read": 1, quota_units: 20 }],
      ["threads.get", { "threads.read": 1, "messages.read": 3, quota_units: 40 }],
    ]);
    // The client asked for gzip as Google wants it, and got it through the proxy.
    const { responseBody } = google.exchanges.at(-1)!;
    expect(gunzipSync(responseBody).toString()).toContain(MAILBOX_TEXT);
  });

  it("counts the changes of a batchModify, which is answered without a body", async () => {
    const act = ({ api }: Mailbox): Promise<number> =>
      api.users.messages.batchModify({ userId: "me", requestBody: { ids: ["m1", "m2", "m3"], addLabelIds: ["UNREAD"] } }).then(({ status }) => status);
    const events = await counted(act);
    expectCounts(events, [["messages.batchModify", { "messages.modified": 3, quota_units: 50 }]]);
    expect(events[0]?.cost).toMatchObject({ amount: "0", source: "price_book" });
  });

  it("counts each call of a batch by its own answer, though they come in another order", async () => {
    const events = await counted((mailbox) => mailbox.batch(["m1", "m2"].map((id) => `/gmail/v1/users/me/messages/${id}?format=metadata`)));
    expectCounts(events, [["batch", { "batch.requests": 1, "messages.read": 1, quota_units: 20 }]]);
  });

  it("counts nothing of a call that is refused, and keeps the reason in the ledger", async () => {
    const act = ({ api }: Mailbox): Promise<string> => api.users.messages.get({ userId: "me", id: "busy" }).then(
      () => "answered",
      (error: Error) => error.message,
    );
    expect(await counted(act)).toEqual([]);
    const ledger = JSON.stringify(await program.get("/api/v1/events?limit=1000"));
    expect(ledger).toContain('"error_reason":"rateLimitExceeded"');
  });
});

describe("the table of quota units, and the price of a unit", () => {
  it("are the operator's choice", async () => {
    const prices = join(stage.dir, "prices.json");
    await writeFile(prices, JSON.stringify({ connectors: [{ connector: "gmail", category: "quota_units", usd: "2", per: 1_000_000 }] }));
    const chosen = await stage.start({ ...settings, TALLYMAN_DATA_DIR: join(stage.dir, "chosen"), TALLYMAN_GMAIL_QUOTA_TABLE: "legacy", TALLYMAN_PRICES_FILE: prices });
    const told = stage.receiver.events().length;
    await mailboxBehind(chosen).api.users.messages.get({ userId: "me", id: "m1" });
    await settled(chosen);
    const events = stage.receiver.events().slice(told).map(countedOf);
    expectCounts(events, [["messages.get", { "messages.read": 1, quota_units: 5 }]]);
    expect(events[0]?.cost).toMatchObject({ amount: "0.00001", currency: "USD", source: "override" });
    await chosen.stop();
  });
});

describe("what was said", () => {
  it("is in no event, no log line, no file of the data directory and no page of the admin server", async () => {
    await settled(program);
    const pages = await Promise.all(["/api/v1/events?limit=1000", "/api/v1/usage?by=connector", "/api/v1/flows"].map((path) => program.get(path)));
    const metrics = await (await fetch(`${program.adminUrl}/metrics`)).text();
    await program.stop();
    const files = readdirSync(stage.dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(0);
    const places: readonly (readonly [string, string])[] = [
      ...files.map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name), "latin1")] as const),
      ["stdout", program.stdout],
      ["stderr", program.stderr],
      ["posts", stage.receiver.requests.map(({ body }) => body).join("\n")],
      ["admin", JSON.stringify(pages) + metrics],
    ];
    const secrets = [...Object.values(WORDS), MAILBOX_TEXT, TOKEN, "two.example", "three.example", "sender.example", raw.slice(40, 80), Buffer.from(MAILBOX_TEXT).toString("base64url").slice(0, 40)];
    for (const [place, text] of places) for (const secret of secrets) expect(text.includes(secret), `${secret} in ${place}`).toBe(false);
    await until(() => program.exitCode === 0, "the program's end");
    // The search itself works: what may be kept is found.
    expect(places.some(([, text]) => text.includes("messages.send"))).toBe(true);
  });
});
