/**
 * Slack's upload in three calls, counted once: announced (files.getUploadURLExternal), sent (to the URL of the answer, on
 * another host and without a credential) and completed (files.completeUploadExternal). Joined by file id and by a hash
 * of that URL's path, which is a secret. Source: reference/connectors.md section 3.4.
 */

import { createHash } from "node:crypto";

import type { ConnectorState, Hook, HookContext } from "../definition.ts";
import { argument, isRecord, listArgument } from "./arguments.ts";
import { payloadBytes } from "./payload-bytes.ts";

/** An upload that was announced in view. */
interface Upload {
  /** As the client announced it. */
  readonly bytes: number | undefined;
  isSent: boolean;
  isCompleted: boolean;
}

/** Slack's upload URLs are good for about as long. */
const UPLOAD_TTL_MS = 3_600_000;

/** Remembers an upload by the id and the URL in the answer. Counts nothing. */
export const announceUpload: Hook = {
  probes: ["upload_url", "file_id"],
  onSuccess(context) {
    const url = context.probe("upload_url");
    const upload: Upload = { bytes: countOf(argument(context, "length")), isSent: false, isCompleted: false };
    if (typeof url === "string" && URL.canParse(url)) context.state.set(urlKey(new URL(url).pathname), upload, UPLOAD_TTL_MS);
    context.state.set(fileKey(context.probe("file_id")), upload, UPLOAD_TTL_MS);
  },
};

/** Counts the bytes of the file: those sent, without the framing of multipart; of an announced upload once. */
export const sendUpload: Hook = {
  onSuccess(context) {
    const upload = uploadAt(context.state, urlKey(context.path));
    if (upload?.isSent === true) return;
    if (upload !== undefined) upload.isSent = true;
    const { bytes, isFramed } = payloadBytes(context.requestBody(), context.requestHeader("content-type"));
    const announced = isFramed ? upload?.bytes : undefined;
    context.emit("files.upload_bytes", announced ?? bytes, { isEstimated: isFramed && announced === undefined });
  },
};

/**
 * Counts the files of the answer and the message that shares them. A file that was announced in view is counted once,
 * however often its completion is asked for.
 */
export const completeUpload: Hook = {
  probes: ["files"],
  onSuccess(context) {
    const uploads = requestedUploads(context);
    const repeated = uploads.filter(({ isCompleted }) => isCompleted).length;
    for (const upload of uploads) upload.isCompleted = true;
    const files = Math.max(0, context.probeLength("files") - repeated);
    if (repeated > 0 && files === 0) return;
    context.emit("files.uploaded", files);
    if (argument(context, "channel_id") !== undefined || argument(context, "channels") !== undefined) context.emit("messages.sent", 1);
  },
};

function requestedUploads(context: HookContext): readonly Upload[] {
  const ids = (listArgument(context, "files") ?? []).map((file) => (isRecord(file) ? file["id"] : undefined));
  return Array.from(new Set(ids), (id) => uploadAt(context.state, fileKey(id))).filter((upload) => upload !== undefined);
}

function uploadAt(state: ConnectorState, key: string): Upload | undefined {
  const value = state.get(key);
  return isUpload(value) ? value : undefined;
}

function isUpload(value: unknown): value is Upload {
  return isRecord(value) && typeof value["isSent"] === "boolean" && typeof value["isCompleted"] === "boolean";
}

function urlKey(path: string): string {
  return `upload:${createHash("sha256").update(path).digest("base64url")}`;
}

function fileKey(id: unknown): string {
  return `file:${String(id).slice(0, 64)}`;
}

function countOf(text: string | undefined): number | undefined {
  const count = Number(text ?? Number.NaN);
  return Number.isSafeInteger(count) && count >= 0 ? count : undefined;
}
