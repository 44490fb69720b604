/**
 * The frame of every reader of a Bedrock model: unwraps event streams for a reader of the vendor's own format, and
 * completes its readings with what Bedrock says around the body: the model in the path, counts, tier and latency in
 * headers, metrics in the last chunk (reference/model-usage.md sections 5.13.1 to 5.13.3).
 */

import type { ResponseHead } from "../../../flow/flow.ts";
import { getHeader } from "../../../flow/headers.ts";
import type { ModelReading, ReadEnd, Reader, Reading } from "../../handler.ts";
import { headerCounts, metricsCounts, withCounts } from "./bedrock-counts.ts";
import { isProvisioned } from "./bedrock-model.ts";
import type { BedrockRequest } from "./bedrock-request.ts";
import { createBedrockStream } from "./bedrock-stream.ts";
import type { BedrockStream } from "./bedrock-stream.ts";

/** `vendor` reads JSON bodies and server-sent events of the model's own format. */
export function createBedrockReader(request: BedrockRequest, vendor: Reader): Reader {
  return new BedrockReader(request, vendor);
}

const EVENT_STREAM = /^application\/vnd\.amazon\.eventstream\s*(?:;|$)/i;

/** How the unwrapped events are announced to the vendor's reader. */
const SSE_HEADERS = ["content-type", "text/event-stream"] as const;

class BedrockReader implements Reader {
  private readonly request: BedrockRequest;
  private readonly vendor: Reader;
  private head: ResponseHead | undefined;
  private stream: BedrockStream | undefined;

  constructor(request: BedrockRequest, vendor: Reader) {
    this.request = request;
    this.vendor = vendor;
  }

  requestData(chunk: Uint8Array): void {
    this.vendor.requestData?.(chunk);
  }

  requestEnd(): void {
    this.vendor.requestEnd?.();
  }

  response(head: ResponseHead): void {
    this.head = head;
    const isUnwrapped = head.status < 300 && EVENT_STREAM.test(getHeader(head.headers, "content-type") ?? "");
    if (isUnwrapped) this.stream = createBedrockStream((events) => this.vendor.push(events));
    this.vendor.response(isUnwrapped ? { ...head, headers: SSE_HEADERS } : head);
  }

  push(chunk: Uint8Array): void {
    if (this.stream === undefined) this.vendor.push(chunk);
    else this.stream.push(chunk);
  }

  end({ kind }: ReadEnd): readonly Reading[] {
    const [own, ...others] = this.vendor.end({ kind: this.endKind(kind) });
    if (own === undefined) return [];
    return [this.complete(own), ...others];
  }

  /** A body that came whole and cannot be read to its end. */
  private endKind(kind: ReadEnd["kind"]): ReadEnd["kind"] {
    if (this.stream?.fault !== undefined) return "undecodable";
    return kind === "complete" && this.stream?.isInsideFrame === true ? "upstream_aborted" : kind;
  }

  private complete(reading: Reading): Reading {
    const { model } = this.request;
    if (reading.kind === "measured" && "connectorUsage" in reading) return reading;
    if (reading.kind !== "measured") return { ...reading, requestModel: model };
    const { anomalies, priceHints, ...facts } = withCounts(reading, this.counts());
    const hints = { ...priceHints, ...this.priceHints() };
    const oddities = [...(anomalies ?? []).filter((name) => name !== "model_missing"), ...this.frameAnomalies()];
    return {
      ...facts,
      requestModel: model,
      responseModel: nameAtBedrock(reading.responseModel, model),
      serviceTier: this.header("service-tier") ?? facts.serviceTier,
      // Of an answer that never came only the path tells.
      streamed: this.head === undefined ? this.request.isStream : facts.streamed,
      ...(Object.keys(hints).length > 0 ? { priceHints: hints } : {}),
      ...(oddities.length > 0 ? { anomalies: oddities } : {}),
    };
  }

  private counts(): ModelReading["usage"] | undefined {
    if (this.stream?.metrics !== undefined) return metricsCounts(this.stream.metrics);
    return this.head === undefined ? undefined : headerCounts(this.head.headers);
  }

  /** Section 8. */
  private priceHints(): Readonly<Record<string, string>> {
    const latency = this.header("performanceconfig-latency");
    return {
      ...(latency === undefined ? {} : { latency }),
      ...(isProvisioned(this.request.model) ? { billing_mode: "provisioned" } : {}),
    };
  }

  private header(name: string): string | undefined {
    const value = this.head === undefined ? undefined : getHeader(this.head.headers, `x-amzn-bedrock-${name}`);
    return value === "" ? undefined : value;
  }

  private frameAnomalies(): readonly string[] {
    return this.stream?.fault === undefined ? [] : [`frame_${this.stream.fault}`];
  }
}

/** "-20250929" at the end of a model's own name; ids at Bedrock have it or not. */
const DATE = /-20\d{6}$/;

/**
 * The model that is billed, by Bedrock's name for it. A body that says "claude-sonnet-4-5-20250929" leaves out the
 * inference profile, which moves the price; the name in the path then says the same and more.
 */
function nameAtBedrock(stated: string | null, asked: string): string | null {
  return stated !== null && asked.includes(stated.replace(DATE, "")) ? asked : stated;
}
