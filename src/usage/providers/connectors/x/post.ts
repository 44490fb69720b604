/** A new post: with a URL or without, and the facts of it that may move its price. Source: reference/connectors.md section 2.6. */

import type { Hook, HookContext } from "../definition.ts";
import type { XOptions } from "./options.ts";
import { urlKindOf } from "./post-url.ts";

const PLAIN = "posts.create";
const WITH_URL = "posts.create_with_url";

/** Bytes of the request that are kept. The longest post is 25,000 characters. */
export const MAX_POST_BYTES = 256 * 1024;

/** Counts one of the two categories for each post that was created. */
export function postCreateHook(urlRule: NonNullable<XOptions["urlRule"]>): Hook {
  return {
    onSuccess(context) {
      const post = context.requestBody().json;
      // What was posted is not known: the dearer reading, marked as such.
      if (!isRecord(post)) return context.emit(WITH_URL, 1, { isEstimated: true });
      const kind = typeof post["text"] === "string" ? urlKindOf(post["text"]) : undefined;
      if (kind !== undefined) context.setDim("url_kind", kind);
      setDims(context, post);
      const isRendered = urlRule === "conservative" && rendersAsLink(post);
      context.emit(kind !== undefined || isRendered ? WITH_URL : PLAIN, 1);
    },
  };
}

function setDims(context: HookContext, post: Record<string, unknown>): void {
  context.setDim("reply", String(has(post, "reply", "in_reply_to_tweet_id") || has(post, "reply", "in_reply_to_post_id")));
  context.setDim("quote", String(isQuote(post)));
  context.setDim("edit", String(has(post, "edit_options", "previous_post_id")));
  context.setDim("media", String(hasMedia(post)));
}

/** What X shows as a link though the text has none. */
function rendersAsLink(post: Record<string, unknown>): boolean {
  return isQuote(post) || hasMedia(post) || isSet(post["card_uri"]) || isSet(post["direct_message_deep_link"]);
}

function isQuote(post: Record<string, unknown>): boolean {
  return isSet(post["quote_tweet_id"]) || isSet(post["quote_post_id"]);
}

function hasMedia({ media }: Record<string, unknown>): boolean {
  if (!isRecord(media)) return false;
  const ids = media["media_ids"];
  return Array.isArray(ids) && ids.length > 0;
}

function has(post: Record<string, unknown>, outer: string, inner: string): boolean {
  const value = post[outer];
  return isRecord(value) && isSet(value[inner]);
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
