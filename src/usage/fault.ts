/** How a fault of a meter is told. */

import type { Logger } from "pino";

/** Logs where a fault happened. Its message is left out: a parser quotes the text that it choked on. */
export function reportFault(logger: Pick<Logger, "error">, where: string, error: unknown): void {
  const name = error instanceof Error ? error.name : typeof error;
  const frames = error instanceof Error ? (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)).slice(0, 4) : [];
  logger.error({ where, error: name, frames: frames.map((line) => line.trim()) }, "a meter failed; the traffic is unharmed");
}
