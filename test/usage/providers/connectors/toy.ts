/** A connector that exists for the tests of the interpreter only. */

import type { ConnectorDefinition } from "../../../../src/usage/providers/connectors/definition.ts";

export const toy: ConnectorDefinition = {
  id: "toy",
  revision: "2026-11-28",
  hosts: ["api.toy.example"],
  pathPrefixes: ["/v1/"],
  aliases: [{ from: "/v1/posts", to: "/v1/things" }],
  shared: {
    includes: [{ each: "includes", map: { users: "users.read" }, unknown: "includes.{key}" }],
  },
  routes: [
    {
      id: "things.list",
      method: "GET",
      path: "/v1/things",
      meters: [{ category: "things.read", count: { len: "data" } }, { use: "includes" }],
      fallback: [{ category: "things.read", count: { first: [{ csv: "ids" }, { within: [{ query: "max_results" }, 1, 100] }] } }],
    },
    { id: "things.me", method: "GET", path: "/v1/things/me", meters: [{ category: "things.read", count: 1 }] },
    { id: "things.get", method: "GET", path: "/v1/things/{id}", meters: [{ category: "things.read", count: { len: "data" } }] },
    {
      id: "things.create",
      method: "POST",
      path: "/v1/things",
      success: { has: "data.id" },
      request: { maxBytes: 1024 },
      meters: [{ category: "things.created", count: 1 }, { category: "tags.created", count: { reqLen: "tags" } }],
    },
    { id: "things.stream", method: "GET", path: "/v1/things/stream", body: "ndjson", meters: [{ category: "things.read", count: { len: "data" } }, { use: "includes" }] },
    { id: "things.events", method: "GET", path: "/v1/things/events", body: "sse", success: { has: "id" }, meters: [{ category: "things.read", count: 1 }] },
    { id: "batch", method: "POST", path: "/v1/batch", request: { maxBytes: 65_536 }, expand: "google-batch", meters: [{ category: "batch.requests", count: 1 }] },
    {
      id: "mcp",
      method: "POST",
      path: "/v1/mcp",
      request: { maxBytes: 65_536 },
      expand: "mcp",
      tools: { list_things: "things.list", create_thing: "things.create" },
    },
    { id: "health", method: "GET", path: "/v1/health" },
  ],
};
