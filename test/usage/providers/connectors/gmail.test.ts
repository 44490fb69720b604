import { gmail as gmailClient } from "@googleapis/gmail";
import { describe, expect, it } from "vitest";
import type { Handler, ReaderContext } from "../../../../src/usage/handler.ts";
import { createGmail, gmailDefinitions } from "../../../../src/usage/providers/connectors/gmail.ts";
import { selects } from "../../../../src/usage/providers/connectors/gmail/hooks.ts";
import { compileConnectors } from "../../../../src/usage/providers/connectors/interpreter/compile-connectors.ts";
import { createReplayJobs, exchangeInfo, replayExchange } from "../../../../src/usage/replay.ts";
import type { RecordedExchange } from "../../../../src/usage/replay.ts";
import { describeConnectorContract } from "../../../support/connector-contract.ts";
import { countsOf } from "../../../support/fixture.ts";

const DEFINITIONS = gmailDefinitions("2026-05");
const gmail = createGmail();
const gmailLegacy = createGmail({ quotaTable: "legacy" });
const TWO_DAYS_MS = 2 * 24 * 3_600_000;

/** Two days go by between one run of a fixture and the next: what is remembered of drafts and uploads is over. */
function forgetful(): Handler {
  let now = 0;
  let jobs: ReaderContext["jobs"] | undefined;
  const handler = compileConnectors(DEFINITIONS, { now: () => now });
  return {
    ...handler,
    open(exchange, context) {
      if (context.jobs !== jobs) now += TWO_DAYS_MS;
      ({ jobs } = context);
      return handler.open(exchange, context);
    },
  };
}

describeConnectorContract({ folder: "gmail", handler: forgetful(), definitions: DEFINITIONS });

/** reference/connectors.md section 4.2: method, call, units since 2026-05-01 and before, category, count. Every answer has two of everything. */
const TABLE = `
  messages.send            POST   /messages/send                         100 100 messages.sent     1
  drafts.send              POST   /drafts/send                           100 100 messages.sent     1
  messages.get             GET    /messages/{id}                          20   5 messages.read     1
  messages.list            GET    /messages                                5   5 messages.listed   len(messages)
  messages.attachments.get GET    /messages/{messageId}/attachments/{id}  20   5 attachments.read  1
  messages.import          POST   /messages/import                        25  25 messages.inserted 1
  messages.insert          POST   /messages                               25  25 messages.inserted 1
  messages.modify          POST   /messages/{id}/modify                    5   5 messages.modified 1
  messages.batchModify     POST   /messages/batchModify                   50  50 messages.modified reqLen(ids)
  messages.trash           POST   /messages/{id}/trash                    20   5 messages.deleted  1
  messages.untrash         POST   /messages/{id}/untrash                   5   5 messages.modified 1
  messages.delete          DELETE /messages/{id}                          10  10 messages.deleted  1
  messages.batchDelete     POST   /messages/batchDelete                   50  50 messages.deleted  reqLen(ids)
  threads.get              GET    /threads/{id}                           40  10 threads.read      1
  threads.list             GET    /threads                                10  10 threads.listed    len(threads)
  threads.modify           POST   /threads/{id}/modify                    10  10 threads.modified  1
  threads.trash            POST   /threads/{id}/trash                     20  10 threads.deleted   1
  threads.untrash          POST   /threads/{id}/untrash                   10  10 threads.modified  1
  threads.delete           DELETE /threads/{id}                           20  20 threads.deleted   1
  history.list             GET    /history                                 2   2 history.records   len(history)
  drafts.create            POST   /drafts                                 10  10 drafts.written    1
  drafts.update            PUT    /drafts/{id}                            15  15 drafts.written    1
  drafts.get               GET    /drafts/{id}                            20   5 drafts.read       1
  drafts.list              GET    /drafts                                  5   5 drafts.listed     len(drafts)
  drafts.delete            DELETE /drafts/{id}                            10  10 drafts.deleted    1
  labels.list              GET    /labels                                  1   1 labels.read       len(labels)
  labels.get               GET    /labels/{id}                             1   1 labels.read       1
  labels.create            POST   /labels                                  5   5 labels.written    1
  labels.update            PUT    /labels/{id}                             5   5 labels.written    1
  labels.patch             PATCH  /labels/{id}                             5   5 labels.written    1
  labels.delete            DELETE /labels/{id}                             5   5 labels.written    1
  getProfile               GET    /profile                                 1   1 profile.read      1
  watch                    POST   /watch                                 100 100 watch.requests    1
  stop                     POST   /stop                                   50  50 watch.requests    1
  settings.getAutoForwarding               GET    /settings/autoForwarding                                         1   1 settings.read
  settings.updateAutoForwarding            PUT    /settings/autoForwarding                                         5   5 settings.written
  settings.getImap                         GET    /settings/imap                                                   1   1 settings.read
  settings.updateImap                      PUT    /settings/imap                                                   5   5 settings.written
  settings.getLanguage                     GET    /settings/language                                               1   1 settings.read
  settings.updateLanguage                  PUT    /settings/language                                               5   5 settings.written
  settings.getPop                          GET    /settings/pop                                                    1   1 settings.read
  settings.updatePop                       PUT    /settings/pop                                                  100 100 settings.written
  settings.getVacation                     GET    /settings/vacation                                               1   1 settings.read
  settings.updateVacation                  PUT    /settings/vacation                                               5   5 settings.written
  settings.delegates.list                  GET    /settings/delegates                                              1   1 settings.read
  settings.delegates.get                   GET    /settings/delegates/{delegateEmail}                              1   1 settings.read
  settings.delegates.create                POST   /settings/delegates                                            100 100 settings.written
  settings.delegates.delete                DELETE /settings/delegates/{delegateEmail}                              5   5 settings.written
  settings.filters.list                    GET    /settings/filters                                                1   1 settings.read
  settings.filters.get                     GET    /settings/filters/{id}                                           1   1 settings.read
  settings.filters.create                  POST   /settings/filters                                                5   5 settings.written
  settings.filters.delete                  DELETE /settings/filters/{id}                                           5   5 settings.written
  settings.forwardingAddresses.list        GET    /settings/forwardingAddresses                                    1   1 settings.read
  settings.forwardingAddresses.get         GET    /settings/forwardingAddresses/{forwardingEmail}                  1   1 settings.read
  settings.forwardingAddresses.create      POST   /settings/forwardingAddresses                                  100 100 settings.written
  settings.forwardingAddresses.delete      DELETE /settings/forwardingAddresses/{forwardingEmail}                  5   5 settings.written
  settings.sendAs.list                     GET    /settings/sendAs                                                 1   1 settings.read
  settings.sendAs.get                      GET    /settings/sendAs/{sendAsEmail}                                   1   1 settings.read
  settings.sendAs.create                   POST   /settings/sendAs                                               100 100 settings.written
  settings.sendAs.delete                   DELETE /settings/sendAs/{sendAsEmail}                                   5   5 settings.written
  settings.sendAs.update                   PUT    /settings/sendAs/{sendAsEmail}                                 100 100 settings.written
  settings.sendAs.patch                    PATCH  /settings/sendAs/{sendAsEmail}                                 100 100 settings.written
  settings.sendAs.verify                   POST   /settings/sendAs/{sendAsEmail}/verify                          100 100 settings.written
  settings.sendAs.smimeInfo.list           GET    /settings/sendAs/{sendAsEmail}/smimeInfo                       100 100 settings.read
  settings.sendAs.smimeInfo.get            GET    /settings/sendAs/{sendAsEmail}/smimeInfo/{id}                  100 100 settings.read
  settings.sendAs.smimeInfo.insert         POST   /settings/sendAs/{sendAsEmail}/smimeInfo                       100 100 settings.written
  settings.sendAs.smimeInfo.setDefault     POST   /settings/sendAs/{sendAsEmail}/smimeInfo/{id}/setDefault       100 100 settings.written
  settings.sendAs.smimeInfo.delete         DELETE /settings/sendAs/{sendAsEmail}/smimeInfo/{id}                  100 100 settings.written
  settings.cse.identities.list             GET    /settings/cse/identities                                       100 100 settings.read
  settings.cse.identities.get              GET    /settings/cse/identities/{cseEmailAddress}                     100 100 settings.read
  settings.cse.identities.create           POST   /settings/cse/identities                                       100 100 settings.written
  settings.cse.identities.patch            PATCH  /settings/cse/identities/{emailAddress}                        100 100 settings.written
  settings.cse.identities.delete           DELETE /settings/cse/identities/{cseEmailAddress}                     100 100 settings.written
  settings.cse.keypairs.list               GET    /settings/cse/keypairs                                         100 100 settings.read
  settings.cse.keypairs.get                GET    /settings/cse/keypairs/{keyPairId}                             100 100 settings.read
  settings.cse.keypairs.create             POST   /settings/cse/keypairs                                         100 100 settings.written
  settings.cse.keypairs.disable            POST   /settings/cse/keypairs/{keyPairId}:disable                     100 100 settings.written
  settings.cse.keypairs.enable             POST   /settings/cse/keypairs/{keyPairId}:enable                      100 100 settings.written
  settings.cse.keypairs.obliterate         POST   /settings/cse/keypairs/{keyPairId}:obliterate                  100 100 settings.written
`;

interface Row {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly current: number;
  readonly legacy: number;
  readonly category: string;
  readonly count: string;
}

const ROWS: readonly Row[] = TABLE.trim()
  .split("\n")
  .map((line) => {
    const [id = "", method = "", path = "", current, legacy, category = "", count = "1"] = line.trim().split(/\s+/);
    return { id, method, path, current: Number(current), legacy: Number(legacy), category, count };
  });

/** Counted beside the category and the units where everything has two of everything. */
const BESIDE: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  "messages.send": { recipients_unknown: 1 },
  "drafts.send": { recipients_unknown: 1 },
  "messages.attachments.get": { "attachments.bytes": 2 },
  "threads.get": { "messages.read": 2 },
};

const TWO = ["messages", "threads", "history", "drafts", "labels"].map((name) => [name, [{ id: "1" }, { id: "2" }]] as const);
const ANSWER = JSON.stringify({ ...Object.fromEntries(TWO), size: 2, id: "x" });

function exchangeOf({ method, path }: Pick<Row, "method" | "path">, status = 200): RecordedExchange {
  return {
    method,
    target: `/gmail/v1/users/me${path.replaceAll(/\{\w+\}/g, "p7")}`,
    requestHeaders: ["host", "gmail.googleapis.com", "content-type", "application/json"],
    requestBody: JSON.stringify({ ids: ["1", "2"] }),
    response: { status, statusText: "", headers: ["content-type", "application/json"], body: status === 200 ? ANSWER : "{}" },
    options: {},
    expected: undefined,
  };
}

function countOf(row: Row, handler: Handler, status?: number): unknown {
  const [reading] = replayExchange(exchangeOf(row, status), handler, { jobs: createReplayJobs() }).readings;
  return reading?.kind === "measured" ? countsOf(reading) : reading;
}

describe("the table of Gmail's methods", () => {
  it.each(ROWS)("counts $id as the reference has it, by both tables of units", (row) => {
    const count = row.count === "1" ? 1 : 2;
    const usage = { [row.category]: count, ...BESIDE[row.id] };
    expect(countOf(row, gmail)).toEqual({ ...usage, quota_units: row.current });
    expect(countOf(row, gmailLegacy)).toEqual({ ...usage, quota_units: row.legacy });
    expect(countOf(row, gmail, 404)).toMatchObject({ kind: "free", route: row.id, dims: { quota_units_attempted: String(row.current) } });
  });

  it("has every method of Google's client under its name, and no other", async () => {
    const found: string[] = [];
    for (const [name, call] of clientMethods(gmailClient({ version: "v1" }).users, [])) {
      const { method, url } = await requestOf(call);
      const { host, pathname, search } = new URL(url);
      const exchange = { ...exchangeOf({ method, path: "" }), target: pathname + search, requestHeaders: ["host", host] };
      expect(gmail.open(exchangeInfo(exchange), { isEstimateAllowed: true, jobs: createReplayJobs() }).operation, `${method} ${pathname}`).toBe(name);
      found.push(name);
    }
    expect(found).toHaveLength(79);
    expect(found.toSorted()).toEqual(ROWS.map(({ id }) => id).toSorted());
  });
});

type ClientMethod = (params: Record<string, unknown>, options: Record<string, unknown>) => Promise<unknown>;

/** The methods of a resource of the client and of those below it, by name. */
function* clientMethods(resource: object, above: readonly string[]): Generator<readonly [string, ClientMethod]> {
  const members = new Map<string, unknown>(Object.entries(resource));
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(resource))) members.set(name, Reflect.get(resource, name));
  for (const [name, member] of members) {
    if (name === "constructor" || name === "context") continue;
    if (typeof member === "function") yield [[...above, name].join("."), (...given) => Reflect.apply(member, resource, given)];
    else if (typeof member === "object" && member !== null) yield* clientMethods(member, [...above, name]);
  }
}

const PARAMETERS = ["userId", "id", "messageId", "delegateEmail", "forwardingEmail", "sendAsEmail", "cseEmailAddress", "emailAddress", "keyPairId"];

/** What the client would send. */
async function requestOf(call: ClientMethod): Promise<{ readonly method: string; readonly url: string }> {
  let seen = { method: "", url: "" };
  const fetchImplementation = (url: URL | string, init: RequestInit): Promise<Response> => {
    seen = { method: init.method ?? "GET", url: String(url) };
    return Promise.resolve(new Response("{}"));
  };
  await call(Object.fromEntries(PARAMETERS.map((name) => [name, "p7"])), { fetchImplementation });
  return seen;
}

describe("a fields parameter", () => {
  it.each([
    ["messages", "messages", true],
    ["nextPageToken,messages/id", "messages", true],
    ["messages(id,threadId),nextPageToken", "messages", true],
    ["*", "messages", true],
    [" id , messages ", "messages", true],
    ["nextPageToken", "messages", false],
    ["payload(messages)", "messages", false],
    ["a/messages", "messages", false],
    ["messagesTotal", "messages", false],
    ["", "messages", false],
    ["((((", "messages", false],
  ])("%j selects %s: %s", (fields, member, expected) => expect(selects(fields, member)).toBe(expected));
});
