/**
 * The methods of the Gmail API: where each is called, what it counts, and its quota units by both tables. Source:
 * reference/connectors.md section 4.2 (Google's quota page of 2026-05; units that it does not publish are marked). What
 * is counted beside the table (recipients, uploads in pieces) is in gmail/hooks.ts.
 */

import type { Dim, Expr, Meter, Predicate } from "./definition.ts";

/** Which units are counted: those since 2026-05-01, or those before, which old projects may have kept. */
export type QuotaTable = "2026-05" | "legacy";

export interface GmailMethod {
  /** The name that Google's reference has, without "gmail.users.". */
  readonly id: string;
  readonly http: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Below /gmail/v1/users/{userId}. */
  readonly path: string;
  /** Per call, since 2026-05-01 and before. */
  readonly units: readonly [current: number, legacy: number];
  readonly category: string;
  readonly count: Expr;
  /** Beside `category`. */
  readonly further?: readonly Meter[];
  /** The member of the response that the counts depend on: `fields` may have taken it out. */
  readonly probed?: string;
  /** Not published: taken for what its like costs. */
  readonly areUnitsGuessed?: boolean;
  /** Also at /upload, in one piece or resumable. */
  readonly isUpload?: boolean;
  /** What its request holds the recipients of: a message that goes out now, or a draft. */
  readonly carries?: "message" | "draft";
  /** Bytes of the request that the counts or dims need. */
  readonly requestBytes?: number;
  readonly dims?: Readonly<Record<string, Dim>>;
}

type Units = number | readonly [current: number, legacy: number];
type Further = Omit<GmailMethod, "id" | "http" | "path" | "units" | "category" | "count">;

type Call = readonly [http: GmailMethod["http"], path: string];

/** One thing per call. */
function one(id: string, [http, path]: Call, units: Units, category: string, further: Further = {}): GmailMethod {
  return { id, http, path, units: typeof units === "number" ? [units, units] : units, category, count: 1, ...further };
}

/** As many as the array in the response has. */
function list(id: string, call: Call, units: Units, category: string, array: string): GmailMethod {
  return { ...one(id, call, units, category, { probed: array }), count: { len: array } };
}

/** As many as the request names ids: at most 1000. */
function batch(id: string, call: Call, units: Units, category: string): GmailMethod {
  return { ...one(id, call, units, category, { requestBytes: 256 * 1024 }), count: { reqLen: "ids" } };
}

const UPLOAD = { isUpload: true };
const GUESSED = { areUnitsGuessed: true };

const MAIL: readonly GmailMethod[] = [
  one("messages.send", ["POST", "/messages/send"], 100, "messages.sent", { isUpload: true, carries: "message", probed: "id" }),
  one("drafts.send", ["POST", "/drafts/send"], 100, "messages.sent", { isUpload: true, carries: "message", probed: "id" }),
  one("messages.get", ["GET", "/messages/{id}"], [20, 5], "messages.read"),
  list("messages.list", ["GET", "/messages"], 5, "messages.listed", "messages"),
  one("messages.attachments.get", ["GET", "/messages/{messageId}/attachments/{id}"], [20, 5], "attachments.read", {
    further: [{ category: "attachments.bytes", count: { num: "size" } }],
    probed: "size",
  }),
  one("messages.import", ["POST", "/messages/import"], 25, "messages.inserted", UPLOAD),
  one("messages.insert", ["POST", "/messages"], 25, "messages.inserted", UPLOAD),
  one("messages.modify", ["POST", "/messages/{id}/modify"], 5, "messages.modified"),
  batch("messages.batchModify", ["POST", "/messages/batchModify"], 50, "messages.modified"),
  one("messages.trash", ["POST", "/messages/{id}/trash"], [20, 5], "messages.deleted"),
  one("messages.untrash", ["POST", "/messages/{id}/untrash"], 5, "messages.modified"),
  one("messages.delete", ["DELETE", "/messages/{id}"], 10, "messages.deleted"),
  batch("messages.batchDelete", ["POST", "/messages/batchDelete"], 50, "messages.deleted"),
  one("threads.get", ["GET", "/threads/{id}"], [40, 10], "threads.read", {
    further: [{ category: "messages.read", count: { len: "messages" } }],
    probed: "messages",
  }),
  list("threads.list", ["GET", "/threads"], 10, "threads.listed", "threads"),
  one("threads.modify", ["POST", "/threads/{id}/modify"], 10, "threads.modified"),
  one("threads.trash", ["POST", "/threads/{id}/trash"], [20, 10], "threads.deleted"),
  one("threads.untrash", ["POST", "/threads/{id}/untrash"], 10, "threads.modified"),
  one("threads.delete", ["DELETE", "/threads/{id}"], 20, "threads.deleted"),
  list("history.list", ["GET", "/history"], 2, "history.records", "history"),
  one("drafts.create", ["POST", "/drafts"], 10, "drafts.written", { isUpload: true, carries: "draft", probed: "id" }),
  one("drafts.update", ["PUT", "/drafts/{id}"], 15, "drafts.written", { isUpload: true, carries: "draft" }),
  one("drafts.get", ["GET", "/drafts/{id}"], [20, 5], "drafts.read"),
  list("drafts.list", ["GET", "/drafts"], 5, "drafts.listed", "drafts"),
  one("drafts.delete", ["DELETE", "/drafts/{id}"], 10, "drafts.deleted"),
  list("labels.list", ["GET", "/labels"], 1, "labels.read", "labels"),
  one("labels.get", ["GET", "/labels/{id}"], 1, "labels.read"),
  one("labels.create", ["POST", "/labels"], 5, "labels.written"),
  one("labels.update", ["PUT", "/labels/{id}"], 5, "labels.written"),
  one("labels.patch", ["PATCH", "/labels/{id}"], 5, "labels.written"),
  one("labels.delete", ["DELETE", "/labels/{id}"], 5, "labels.written"),
  one("getProfile", ["GET", "/profile"], 1, "profile.read"),
  one("watch", ["POST", "/watch"], 100, "watch.requests"),
  one("stop", ["POST", "/stop"], 50, "watch.requests"),
];

/** Large enough for any rule: Gmail bounds them far below. */
const SETTINGS_BYTES = 64 * 1024;

/** What makes Gmail send copies by itself later on. */
const forwarding = (when: Predicate): Further => ({ requestBytes: SETTINGS_BYTES, dims: { forwarding: { is: when } } });

const read = (id: string, path: string, units: Units = 1, further: Further = {}): GmailMethod => one(`settings.${id}`, ["GET", `/settings/${path}`], units, "settings.read", further);
const write = (id: string, [http, path]: Call, units: Units, further: Further = {}): GmailMethod => one(`settings.${id}`, [http, `/settings/${path}`], units, "settings.written", further);

/** An item and the list of it, its making and its end. */
function collection(name: string, key: string, createUnits: number, further: Further = {}): readonly GmailMethod[] {
  return [
    read(`${name}.list`, name),
    read(`${name}.get`, `${name}/{${key}}`),
    write(`${name}.create`, ["POST", name], createUnits, further),
    write(`${name}.delete`, ["DELETE", `${name}/{${key}}`], 5),
  ];
}

const SETTINGS: readonly GmailMethod[] = [
  read("getAutoForwarding", "autoForwarding"),
  read("getImap", "imap"),
  read("getLanguage", "language"),
  read("getPop", "pop"),
  read("getVacation", "vacation"),
  write("updateAutoForwarding", ["PUT", "autoForwarding"], 5, forwarding({ reqEq: ["enabled", true] })),
  write("updateImap", ["PUT", "imap"], 5),
  write("updateLanguage", ["PUT", "language"], 5),
  write("updatePop", ["PUT", "pop"], 100),
  write("updateVacation", ["PUT", "vacation"], 5),
  ...collection("delegates", "delegateEmail", 100),
  ...collection("filters", "id", 5, forwarding({ reqHas: "action.forward" })),
  ...collection("forwardingAddresses", "forwardingEmail", 100),
  ...collection("sendAs", "sendAsEmail", 100),
  write("sendAs.update", ["PUT", "sendAs/{sendAsEmail}"], 100),
  write("sendAs.patch", ["PATCH", "sendAs/{sendAsEmail}"], 100),
  write("sendAs.verify", ["POST", "sendAs/{sendAsEmail}/verify"], 100),
  read("sendAs.smimeInfo.list", "sendAs/{sendAsEmail}/smimeInfo", 100, GUESSED),
  read("sendAs.smimeInfo.get", "sendAs/{sendAsEmail}/smimeInfo/{id}", 100, GUESSED),
  write("sendAs.smimeInfo.insert", ["POST", "sendAs/{sendAsEmail}/smimeInfo"], 100, GUESSED),
  write("sendAs.smimeInfo.setDefault", ["POST", "sendAs/{sendAsEmail}/smimeInfo/{id}/setDefault"], 100, GUESSED),
  write("sendAs.smimeInfo.delete", ["DELETE", "sendAs/{sendAsEmail}/smimeInfo/{id}"], 100, GUESSED),
  read("cse.identities.list", "cse/identities", 100, GUESSED),
  read("cse.identities.get", "cse/identities/{cseEmailAddress}", 100, GUESSED),
  write("cse.identities.create", ["POST", "cse/identities"], 100, GUESSED),
  write("cse.identities.patch", ["PATCH", "cse/identities/{emailAddress}"], 100, GUESSED),
  write("cse.identities.delete", ["DELETE", "cse/identities/{cseEmailAddress}"], 100, GUESSED),
  read("cse.keypairs.list", "cse/keypairs", 100, GUESSED),
  read("cse.keypairs.get", "cse/keypairs/{keyPairId}", 100, GUESSED),
  write("cse.keypairs.create", ["POST", "cse/keypairs"], 100, GUESSED),
  write("cse.keypairs.disable", ["POST", "cse/keypairs/{keyPairId}:disable"], 100, GUESSED),
  write("cse.keypairs.enable", ["POST", "cse/keypairs/{keyPairId}:enable"], 100, GUESSED),
  write("cse.keypairs.obliterate", ["POST", "cse/keypairs/{keyPairId}:obliterate"], 100, GUESSED),
];

/** All 79 methods that Google's client has (@googleapis/gmail 18). */
export const GMAIL_METHODS: readonly GmailMethod[] = [...MAIL, ...SETTINGS];
