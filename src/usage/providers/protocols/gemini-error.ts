/** Error bodies in the shape of Google's APIs, which @google/genai raises an ApiError from (reference/model-usage.md section 5.9.2). */

import type { ProxyError } from "./error-body.ts";

/** Canonical names by status (google/rpc/code.proto, its HTTP mapping); other statuses are UNAVAILABLE or INTERNAL. */
const STATUSES: Readonly<Record<number, string>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** `{"error":{"code","message","status","details"}}`; the proxy's own code is the reason in an ErrorInfo. */
export function googleErrorBody(error: ProxyError): Record<string, unknown> {
  const fallback = error.status >= 500 ? "UNAVAILABLE" : "FAILED_PRECONDITION";
  const info = { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: error.code, domain: "tallyman" };
  return { error: { code: error.status, message: error.message, status: STATUSES[error.status] ?? fallback, details: [info] } };
}
