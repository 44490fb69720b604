/** The request's model where the path names it (reference/model-usage.md section 4.3). */

import type { Reader, Reading, RequestOutline } from "../../handler.ts";

/** A reader whose request body may not name the model, where the path does. */
export function withRequestModel(reader: Reader, model: string | null): Reader {
  return {
    ...(reader.requestData === undefined ? {} : { requestData: (chunk: Uint8Array) => reader.requestData?.(chunk) }),
    ...(reader.requestEnd === undefined ? {} : { requestEnd: () => reader.requestEnd?.() }),
    ...(reader.requestOutline === undefined ? {} : { requestOutline: () => outlineOf(reader, model) }),
    response: (head) => reader.response(head),
    push: (chunk) => reader.push(chunk),
    // What comes after the first is usage of other models inside the response.
    end: (end) => reader.end(end).map((reading, index) => (index === 0 ? named(reading, model) : reading)),
  };
}

function outlineOf(reader: Reader, model: string | null): RequestOutline {
  const outline = reader.requestOutline?.() ?? { model: null, isUsageUnlikely: false };
  return outline.model === null ? { ...outline, model } : outline;
}

function named(reading: Reading, model: string | null): Reading {
  if (model === null || !("requestModel" in reading) || reading.requestModel !== null) return reading;
  if (reading.kind !== "measured") return { ...reading, requestModel: model };
  const { anomalies = [], ...rest } = reading;
  const others = anomalies.filter((anomaly) => anomaly !== "model_missing");
  return { ...rest, requestModel: model, ...(others.length > 0 ? { anomalies: others } : {}) };
}
