/** docs/connectors.md names every category and fact that a connector counts or tells, and none that it does not. */

import { describe, expect, it } from "vitest";
import type { ConnectorDefinition } from "../../src/usage/providers/connectors/definition.ts";
import { gmailDefinitions } from "../../src/usage/providers/connectors/gmail.ts";
import { slackDefinitions } from "../../src/usage/providers/connectors/slack.ts";
import { defineX } from "../../src/usage/providers/connectors/x/definition.ts";
import { firstCells } from "./markdown-tables.ts";

const X_EVENT_KINDS = ["post", "post_delete", "follow", "like", "mute", "block", "profile_update", "message_received", "message_other", "news", "space", "other"];
const X_OF_CODE = ["posts.create", ...X_EVENT_KINDS.map((kind) => `activity.events.${kind}`)];

/** By heading: the definitions, and the names that only their hooks and expansions know. */
const CONNECTORS: readonly (readonly [heading: string, definitions: readonly ConnectorDefinition[], ofCode: readonly string[]])[] = [
  ["Gmail", gmailDefinitions("2026-05"), ["recipients", "recipients_unknown", "mcp.tool_calls", "quota_units_attempted", "partial_fields", "batch", "tool"]],
  ["Slack", slackDefinitions, ["files.uploaded", "files.upload_bytes", "events.received", "mcp.tool_calls", "targets", "via", "type", "retry", "tool"]],
  ["X", [defineX({ ownerUserId: "7" })], [...X_OF_CODE, "posts.create_with_url", "mcp.tool_calls", "_bad_lines", "url_kind", "reply", "quote", "edit", "media", "dedup", "tool"]],
];

describe("docs/connectors.md", () => {
  it.each(CONNECTORS)("lists the categories and facts of %s", (heading, definitions, ofCode) => {
    const names = new Set([...definitions.flatMap(namesOf), ...ofCode]);
    expect(firstCells("connectors.md", heading).toSorted()).toEqual([...names].toSorted());
  });
});

function namesOf({ routes, shared = {} }: ConnectorDefinition): readonly string[] {
  const meters = [...routes.flatMap((route) => route.meters ?? []), ...Object.values(shared).flat()];
  const categories = meters.flatMap((meter) => ("category" in meter ? [meter.category] : "each" in meter ? [...Object.values(meter.map), meter.unknown] : []));
  return [...categories, ...routes.flatMap(({ dims = {} }) => Object.keys(dims))];
}
