/**
 * The activity stream: every event counts in `activity.events`, and once more under its kind, because each kind has a
 * price of its own. Source: reference/connectors.md section 2.2.
 */

import type { Hook } from "../definition.ts";

export const ACTIVITY_EVENTS = "activity.events";

/** Kinds by event type; of several that fit, the first. An event type that none fits is "other". */
const KINDS: readonly (readonly [prefix: string, kind: string])[] = [
  ["post.delete", "post_delete"],
  ["post.", "post"],
  ["follow.", "follow"],
  ["like.", "like"],
  ["mute.", "mute"],
  ["block.", "block"],
  ["profile.", "profile_update"],
  ["chat.received", "message_received"],
  ["dm.received", "message_received"],
  ["chat.", "message_other"],
  ["dm.", "message_other"],
  ["news.", "news"],
  ["spaces.", "space"],
];

export const activityEventHook: Hook = {
  onRecord(context, record) {
    const type = eventType(record);
    if (type === undefined) return;
    context.emit(`${ACTIVITY_EVENTS}.${kindOf(type)}`, 1);
  },
};

function kindOf(type: string): string {
  return KINDS.find(([prefix]) => type.startsWith(prefix))?.[1] ?? "other";
}

/** Of a line that holds an event; "" where it does not say which. */
function eventType(record: unknown): string | undefined {
  if (!isRecord(record) || !isRecord(record["data"])) return undefined;
  const type = record["data"]["event_type"];
  return typeof type === "string" ? type : "";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
