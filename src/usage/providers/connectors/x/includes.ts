/** Objects that `expansions` brings along: each counts in the category of its own kind (reference/connectors.md section 2.3). */

import type { MeterLike } from "../definition.ts";
import type { XOptions } from "./options.ts";

/** Keys of `includes`. X renames tweets to posts: both names are taken. */
const CATEGORY_OF_KEY: Readonly<Record<string, string>> = {
  users: "users.read",
  tweets: "posts.read",
  posts: "posts.read",
  media: "media.read",
  polls: "polls.read",
  places: "places.read",
  topics: "topics.read",
  spaces: "spaces.read",
};

/** The meters of `includes` for a route that counts `category`. */
export function includesMeters(category: string, mode: NonNullable<XOptions["includes"]>): readonly MeterLike[] {
  switch (mode) {
    case "all":
      return [{ each: "includes", map: CATEGORY_OF_KEY, unknown: "includes.{key}", ids: "id" }];
    case "same-type":
      return Object.entries(CATEGORY_OF_KEY)
        .filter(([, own]) => own === category)
        .map(([key]) => ({ category, count: { len: `includes.${key}` }, ids: `includes.${key}.*.id` }));
    case "none":
      return [];
    default:
      return mode satisfies never;
  }
}
