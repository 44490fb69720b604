/** The proof of the language: a connector in one JSON file, without code (docs/adding-a-connector.md). */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import type { ConnectorDefinition } from "../../../../src/usage/providers/connectors/definition.ts";
import { loadConnectors } from "../../../../src/usage/providers/connectors/interpreter/load-definition.ts";
import { describeConnectorContract } from "../../../support/connector-contract.ts";

const text = readFileSync(join(import.meta.dirname, "../../../../docs/examples/github.json"), "utf8");
const definition: ConnectorDefinition = JSON.parse(text);
const [github] = loadConnectors(definition);

describe("GitHub's definition", () => {
  it("is under 80 lines and has no hook", () => {
    expect(text.trimEnd().split("\n").length).toBeLessThan(80);
    expect(text).not.toContain("hook");
  });
});

// Its reads count an array's elements at the root, which the made-up exchanges do not have.
const read = { body: '[{"id":1},{"id":2}]', usage: { "items.read": 2, "api.points": 1 } };
describeConnectorContract({ folder: "connector-github", handler: github!, definitions: [definition], samples: { read } });
