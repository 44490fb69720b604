/** Error bodies in the shape that a protocol's SDKs raise exceptions from. */

/** As in Handler.errorBody. */
export interface ProxyError {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

/** Anthropic's error types by status (docs: API errors); other statuses are `api_error`. */
const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
};

/** `{"type":"error","error":{"type","message"}}` (reference/model-usage.md section 5.1.5). */
export function anthropicErrorBody(error: ProxyError): Record<string, unknown> {
  return { type: "error", error: { type: ANTHROPIC_TYPES[error.status] ?? "api_error", message: error.message } };
}

const OPENAI_TYPES: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "invalid_request_error",
  429: "rate_limit_error",
};

/** `{"error":{"message","type","param","code"}}` (reference/model-usage.md section 5.2.2). */
export function openAiErrorBody(error: ProxyError): Record<string, unknown> {
  const type = OPENAI_TYPES[error.status] ?? "server_error";
  return { error: { message: error.message, type, param: null, code: error.code } };
}
