/**
 * What the table of routes cannot say of Gmail (reference/connectors.md sections 4.2 to 4.4): recipients of what is sent,
 * also of drafts that were written before, uploads in pieces, partial responses, units of calls that failed. Addresses
 * and ids stay in memory: what leaves is numbers.
 */

import type { Hook, HookContext } from "../definition.ts";
import { GMAIL_METHODS } from "../gmail-routes.ts";
import type { GmailMethod, QuotaTable } from "../gmail-routes.ts";
import { QUOTA_CATEGORY, unitsOf, UPLOAD_ID } from "./routes.ts";
import { draftIdIn, recipientsIn } from "./sent-message.ts";
import type { MessageRequest } from "./sent-message.ts";

/** How long drafts and uploads are remembered. */
const MEMORY_MS = 24 * 3_600_000;

/** The hooks, by the names that routes have for them. */
export function gmailHooks(table: QuotaTable): Readonly<Record<"call" | "upload", Hook>> {
  const onFailure = (context: HookContext): void => tellAttempted(context, table);
  return {
    call: { onSuccess: tellPartialFields, onFailure },
    upload: {
      probes: ["id"],
      onSuccess(context) {
        tellPartialFields(context);
        if (context.query.has(UPLOAD_ID)) endUpload(context, table);
        else takeRecipients(context, recipientsOf(context));
      },
      onFailure(context) {
        if (context.query.has(UPLOAD_ID)) rememberPiece(context);
        if (context.status >= 400) tellAttempted(context, table);
      },
    },
  };
}

const METHODS: ReadonlyMap<string, GmailMethod> = new Map(GMAIL_METHODS.map((method) => [method.id, method]));

function methodOf({ routeId }: HookContext): GmailMethod | undefined {
  return METHODS.get(routeId);
}

/** Whether a rejected call uses up units is not documented: they are told, and not counted. */
function tellAttempted(context: HookContext, table: QuotaTable): void {
  const method = methodOf(context);
  if (method !== undefined) context.setDim("quota_units_attempted", String(unitsOf(method, table)));
}

/** `fields` without what is counted: the count is not known, or rests on the status alone. */
function tellPartialFields(context: HookContext): void {
  const probed = methodOf(context)?.probed;
  const fields = context.query.get("fields");
  if (probed !== undefined && fields !== null && !selects(fields, probed)) context.setDim("partial_fields", "true");
}

/** Whether a `fields` parameter ("id,messages(id,threadId),a/b") keeps a member of the response. */
export function selects(fields: string, member: string): boolean {
  let depth = 0;
  let name = "";
  for (const char of `${fields},`) {
    if (char === "(") depth++;
    else if (char === ")") depth--;
    else if (char === "," && depth === 0) {
      const top = name.split("/", 1)[0]?.trim();
      if (top === member || top === "*") return true;
      name = "";
    } else if (depth === 0) name += char;
  }
  return false;
}

function requestOf(context: HookContext): MessageRequest {
  return { isUpload: isUpload(context), contentType: context.requestHeader("content-type"), body: context.requestBody() };
}

function isUpload({ path }: HookContext): boolean {
  return path.startsWith("/upload/") || path.startsWith("/resumable/");
}

/** Counts them where the message goes out now, and keeps them of a draft. */
function takeRecipients(context: HookContext, recipients: number | undefined): void {
  const carries = methodOf(context)?.carries;
  if (carries === "draft") rememberDraft(context, recipients);
  if (carries !== "message") return;
  if (recipients === undefined) context.emit("recipients_unknown", 1);
  else context.emit("recipients", recipients);
}

/** Of a message in the request, else of the draft that it names. */
function recipientsOf(context: HookContext): number | undefined {
  const method = methodOf(context);
  if (method?.carries === undefined) return undefined;
  const request = requestOf(context);
  const own = recipientsIn(request);
  if (own !== undefined || method.id !== "drafts.send") return own;
  const draftId = draftIdIn(request);
  if (draftId === undefined) return undefined;
  return remembered(context, draftKey(context, draftId));
}

/** The draft as it now is: one that cannot be read is not what was remembered before. */
function rememberDraft(context: HookContext, recipients: number | undefined): void {
  const id = context.params["id"] ?? context.probe("id");
  if (id === undefined) return;
  const key = draftKey(context, String(id));
  if (recipients === undefined) context.state.delete(key);
  else context.state.set(key, recipients, MEMORY_MS);
}

function draftKey({ account }: HookContext, draftId: string): string {
  return JSON.stringify(["draft", account, draftId]);
}

function remembered({ state }: HookContext, key: string): number | undefined {
  const value = state.get(key);
  return typeof value === "number" ? value : undefined;
}

function uploadKey({ query }: HookContext, what: "recipients" | "counted"): string {
  return JSON.stringify([what, query.get(UPLOAD_ID)]);
}

/** A piece was taken, or lost: the one that holds the header fields need not be the last. */
function rememberPiece(context: HookContext): void {
  const recipients = recipientsOfPiece(context);
  if (recipients !== undefined) context.state.set(uploadKey(context, "recipients"), recipients, MEMORY_MS);
}

/** The upload has its message. Asked again, the server says so again: it counts once. */
function endUpload(context: HookContext, table: QuotaTable): void {
  const method = methodOf(context);
  const counted = uploadKey(context, "counted");
  if (method === undefined || context.state.get(counted) === true) return;
  context.state.set(counted, true, MEMORY_MS);
  context.emit(method.category, 1);
  context.emit(QUOTA_CATEGORY, unitsOf(method, table));
  const key = uploadKey(context, "recipients");
  takeRecipients(context, recipientsOfPiece(context) ?? remembered(context, key));
  context.state.delete(key);
}

/** "bytes 0-1023/4096"; a question how far the upload has come is "bytes" and "*" in place of the range. */
const FIRST_PIECE = /^bytes 0-/;

/** Of the piece that begins the message; undefined: it is another, or they cannot be told. */
function recipientsOfPiece(context: HookContext): number | undefined {
  if (methodOf(context)?.carries === undefined) return undefined;
  const range = context.requestHeader("content-range");
  const { body } = requestOf(context);
  if (body.totalBytes === 0 || (range !== undefined && !FIRST_PIECE.test(range))) return undefined;
  return recipientsIn({ isUpload: true, contentType: undefined, body: { ...body, isTruncated: body.isTruncated || range !== undefined } });
}
