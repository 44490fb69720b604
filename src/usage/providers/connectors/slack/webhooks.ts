/** What a post to hooks.slack.com does. Source: reference/connectors.md section 3.5. */

import type { Hook, HookContext } from "../definition.ts";
import { isRecord } from "./arguments.ts";

/** A webhook's post is one message. */
export const incomingWebhook: Hook = {
  onSuccess(context) {
    context.emit("messages.sent", 1);
    context.setDim("via", "webhook");
  },
};

/** A post to a response URL is a message, or changes the one that it answers to. */
export const responseUrl: Hook = {
  onSuccess(context) {
    const payload = payloadOf(context);
    const isUpdate = payload?.["replace_original"] === true || payload?.["delete_original"] === true;
    context.emit(isUpdate ? "messages.updated" : "messages.sent", 1);
    context.setDim("via", "response_url");
  },
};

/** The JSON body, or the form field that holds it. */
function payloadOf(context: HookContext): Readonly<Record<string, unknown>> | undefined {
  const { json, form } = context.requestBody();
  if (json !== undefined) return isRecord(json) ? json : undefined;
  try {
    const value: unknown = JSON.parse(form?.get("payload") ?? "null");
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined; // Slack refuses what it cannot read: such a post was no success.
  }
}
