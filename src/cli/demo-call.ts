/** What the demo's agent tells of each call it made: one JSON line on its stdout. Made by demo-agent.ts, read by demo.ts. */

export interface CallReport {
  /** What made the call: the SDK's package name, or "fetch" where that is not installed. */
  readonly client: string;
  /** What was called, for people. */
  readonly call: string;
  readonly model: string;
  /** The provider's id of the response; null for a call that costs nothing. */
  readonly responseId: string | null;
  /** The whole prompt, cache included, as the client was told. */
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export function formatCallReport(report: CallReport): string {
  return `${JSON.stringify(report)}\n`;
}

/** `undefined` for a line that is no report. */
export function parseCallReport(line: string): CallReport | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isCallReport(value) ? value : undefined;
  } catch {
    return undefined; // Something else that a library printed.
  }
}

function isCallReport(value: unknown): value is CallReport {
  if (typeof value !== "object" || value === null) return false;
  const { client, call, model, responseId, inputTokens, outputTokens } = value as Partial<Record<keyof CallReport, unknown>>;
  return (
    [client, call, model].every((text) => typeof text === "string") &&
    (responseId === null || typeof responseId === "string") &&
    [inputTokens, outputTokens].every((count) => typeof count === "number")
  );
}
