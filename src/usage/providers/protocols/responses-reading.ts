/**
 * The readings of one response object of the Responses family, however it arrived (reference/model-usage.md sections
 * 5.3 to 5.5): its own, and one for each other model that worked inside it.
 */

import type { ModelReading, StatedCost } from "../../handler.ts";
import type { JsonObject } from "./json-values.ts";
import type { MappedUsage } from "./openai-usage.ts";
import { measuredReading } from "./reading.ts";
import type { Estimates, ExchangeSizes } from "./reading.ts";
import type { RequestFacts } from "./request-facts.ts";
import type { ResponseFacts } from "./responses-facts.ts";

export interface ResponseState {
  readonly facts: ResponseFacts;
  readonly request: RequestFacts;
  /** Where the response object names none. */
  readonly model?: string | null;
  readonly streamed: boolean;
  /** The response's terminal event, or its whole document, was seen. */
  readonly isWhole: boolean;
  /** Output items or text were seen. */
  readonly hasBegun: boolean;
  /** An error outside of the response object. */
  readonly hasError: boolean;
  /** undefined: estimates are not allowed. */
  readonly estimates: Estimates | undefined;
  /** Left out: nothing is learnt from the response. */
  readonly sizes?: ExchangeSizes;
  readonly mapUsage: (usage: JsonObject) => MappedUsage;
  readonly statedCost?: ((usage: JsonObject) => StatedCost | undefined) | undefined;
  readonly priceHints: Readonly<Record<string, string>>;
}

/** At least one, the response's own first. */
export function responseReadings(state: ResponseState): readonly ModelReading[] {
  const { facts, request, hasBegun } = state;
  const { usage } = facts;
  const mapped = usage === undefined ? undefined : state.mapUsage(usage);
  const isFailed = facts.status === "failed" || facts.status === "cancelled";
  const isBrokenOff = usage === undefined && isFailed && hasBegun;
  // A report is final here; a failure without output and without a report cost nothing that we know (section 5.3.2).
  const isKnown = usage !== undefined || (isFailed && !hasBegun);
  const reading = measuredReading({
    request,
    responseModel: facts.model ?? state.model ?? null,
    responseId: facts.id,
    serviceTier: facts.serviceTier,
    streamed: state.streamed,
    isWhole: state.isWhole && !isBrokenOff,
    reported: mapped === undefined ? undefined : { ...mapped.usage, ...facts.units() },
    estimates: isKnown ? undefined : state.estimates,
    ...(state.sizes === undefined ? {} : { sizes: state.sizes }),
    statedCost: usage === undefined ? undefined : state.statedCost?.(usage),
    priceHints: state.priceHints,
    anomalies: [...(mapped?.anomalies ?? []), ...endAnomalies(state, isFailed)],
  });
  return [reading, ...subReadings(reading, facts, request.imageModel)];
}

function endAnomalies({ hasError, isWhole }: ResponseState, isFailed: boolean): readonly string[] {
  if (hasError || isFailed) return ["error_after_200"];
  return isWhole ? [] : ["stream_truncated"];
}

/** Usage that the response reports for other models: events of their own. */
function subReadings(own: ModelReading, facts: ResponseFacts, requestImageModel: string | null): readonly ModelReading[] {
  const { statedCost: _cost, anomalies: _anomalies, basis: _basis, ...shared } = own;
  return facts.subUsages(requestImageModel).map(({ model, usage }) => ({
    ...shared,
    source: "provider",
    usage,
    requestModel: null,
    responseModel: model,
    ...(model === null ? { anomalies: ["model_missing"] } : {}),
  }));
}
