/**
 * Socket Mode: what the server sends in envelopes, and answers that become messages. Source: reference/connectors.md
 * section 3.6. Frames without an `envelope_id` (hello, disconnect) and pings count nothing.
 */

import type { Hook, HookContext } from "../definition.ts";
import { isRecord } from "./arguments.ts";

/** An envelope can be answered for far less long than this. */
const ENVELOPE_TTL_MS = 3_600_000;

/** Members of an acknowledgement's payload that users see. */
const VISIBLE = ["text", "blocks", "attachments"];

export const socketMode: Hook = {
  onFrame(context, direction, text) {
    const frame = parse(text);
    const id = frame?.["envelope_id"];
    if (frame === undefined || typeof id !== "string") return;
    if (direction === "down") received(context, frame, id);
    else acknowledged(context, frame, id);
  },
};

function received(context: HookContext, frame: Readonly<Record<string, unknown>>, id: string): void {
  const { type, retry_attempt: attempt } = frame;
  context.emit("events.received", 1);
  if (typeof type === "string") context.setDim("type", type);
  context.setDim("retry", String(typeof attempt === "number" && attempt > 0));
  if (type === "slash_commands") context.state.set(commandKey(id), true, ENVELOPE_TTL_MS);
}

/** The answer to a slash command is posted when there is something to see in it, and at most once. */
function acknowledged(context: HookContext, frame: Readonly<Record<string, unknown>>, id: string): void {
  const { payload } = frame;
  if (context.state.get(commandKey(id)) !== true) return;
  context.state.delete(commandKey(id));
  if (!isRecord(payload) || !VISIBLE.some((name) => hasContent(payload[name]))) return;
  context.emit("messages.sent", 1);
  context.setDim("via", "socket_ack");
}

function hasContent(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null && value !== "";
}

function commandKey(envelopeId: string): string {
  return `command:${envelopeId.slice(0, 64)}`;
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined; // Slack sends JSON only; what else comes is none of its envelopes.
  }
}
