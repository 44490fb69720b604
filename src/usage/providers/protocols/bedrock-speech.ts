/**
 * Reads the answering side of InvokeModelWithBidirectionalStream, a conversation with a speech model: events as chunks,
 * whose `usageEvent` has the totals of the session so far (docs.aws.amazon.com/nova/latest/userguide/output-events.html,
 * read 2026-11-22; `{event:{usageEvent:{details:{total:{input:{speechTokens,textTokens},output:{…}}}}}}`). The deltas
 * beside the totals are not added.
 */

import type { ModelUsage } from "../../categories.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { Reader, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { hasMember } from "./delta-text.ts";
import { asObject, countOf, parseObject } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { freeReading, measuredReading, put } from "./reading.ts";
import { createRequestReader } from "./request-facts.ts";
import { mergeSnapshot } from "./snapshot.ts";

/** The reader of one conversation, whose frames come as server-sent events. Nothing is estimated: audio has no text. */
export function createSpeechReader(): Reader {
  return createBodyReader(new SpeechProtocol(), undefined);
}

const JSON_PATHS: readonly JsonPath[] = [];

class SpeechProtocol implements ModelProtocol {
  readonly jsonPaths = JSON_PATHS;
  private total: JsonObject | undefined;
  private hasBegun = false;
  /** The model is answering. Between answers a conversation may end at any time. */
  private isAnswering = false;
  private hasError = false;

  jsonValue(): void {
    // A conversation is a stream: there is nothing to read in a document.
  }

  event({ event, data }: SseEvent): void {
    if (event === "error") this.hasError = true;
    else this.hasBegun = true;
    if (hasMember(data, 'completionStart":')) this.isAnswering = true;
    if (hasMember(data, 'completionEnd":')) this.isAnswering = false;
    if (!hasMember(data, 'usageEvent":')) return;
    const usage = asObject(asObject(parseObject(data)?.["event"])?.["usageEvent"]);
    const total = asObject(asObject(usage?.["details"])?.["total"]);
    if (total !== undefined) this.total = mergeSnapshot(this.total, total);
  }

  conclude(body: BodyEnd): readonly Reading[] {
    if (this.hasError && !this.hasBegun) return [freeReading("error_in_stream", { streamed: true })];
    const isWhole = body.transport === "complete" && !this.hasError && !this.isAnswering;
    return [
      measuredReading({
        request: createRequestReader([]).facts(),
        responseModel: null,
        responseId: null,
        serviceTier: null,
        streamed: true,
        isWhole,
        reported: this.total === undefined ? undefined : mapTotal(this.total),
        estimates: undefined,
        anomalies: isWhole ? [] : [this.hasError ? "error_after_200" : "stream_truncated"],
      }),
    ];
  }
}

function mapTotal(total: JsonObject): ModelUsage {
  const input = asObject(total["input"]);
  const output = asObject(total["output"]);
  const usage: ModelUsage = {};
  put(usage, "input_tokens", countOf(input?.["textTokens"]));
  put(usage, "input_audio_tokens", countOf(input?.["speechTokens"]));
  put(usage, "output_tokens", countOf(output?.["textTokens"]));
  put(usage, "output_audio_tokens", countOf(output?.["speechTokens"]));
  return usage;
}
