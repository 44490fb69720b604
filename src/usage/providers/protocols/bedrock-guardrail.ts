/**
 * Reads one answer of ApplyGuardrail or InvokeGuardrailChecks, which are charged by text units and images, not by
 * tokens (reference/model-usage.md section 4.2; `@aws-sdk/client-bedrock-runtime` 3.1163.0: GuardrailUsage,
 * GuardrailChecksUsageResults). An answer that used none of those is free.
 */

import type { JsonPath } from "../../extract/json-scan.ts";
import type { Reader, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { asObject, countOf } from "./json-values.ts";
import { freeReading } from "./reading.ts";

/** The reader of one POST to a guardrail. */
export function createGuardrailReader(): Reader {
  return createBodyReader(new GuardrailProtocol(), undefined);
}

const JSON_PATHS: readonly JsonPath[] = [["usage"]];

/** Word filters and the regular expressions of sensitive information are free (AWS price list of Guardrails). */
const FREE_UNITS = new Set(["wordPolicyUnits", "sensitiveInformationPolicyFreeUnits", "automatedReasoningPolicies"]);

class GuardrailProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private paidUnits: number | undefined;

  jsonValue(_path: JsonPath, value: unknown): void {
    const usage = asObject(value);
    if (usage === undefined) return;
    this.paidUnits = 0;
    for (const [name, units] of Object.entries(usage)) {
      // Guardrail checks have an object for each check.
      if (!FREE_UNITS.has(name)) this.paidUnits += countOf(units) ?? countOf(asObject(units)?.["textUnits"]) ?? 0;
    }
  }

  event(): void {
    // Guardrails answer with one document.
  }

  conclude(body: BodyEnd): readonly Reading[] {
    if (this.paidUnits === undefined) return [{ kind: "unmeasured", reason: "no_usage" }];
    if (this.paidUnits === 0) return [freeReading("no_paid_units", {})];
    const nobody = { requestModel: null, responseModel: null, responseId: null, serviceTier: null, streamed: false };
    return [{ kind: "measured", completeness: body.isDocumentWhole ? "complete" : "partial", source: "provider", usage: { text_units: this.paidUnits }, ...nobody }];
  }
}
