/**
 * The log: pino as JSON, or one readable line a record on a terminal. Owns the form of log lines; what may be in them is
 * decided where they are written (never a prompt, an address, a query or a credential).
 */

import { destination, pino, stdTimeFunctions, type DestinationStream, type Logger } from "pino";

import type { UsageEvent } from "./usage/event-types.ts";

export interface LogOptions {
  readonly level: string;
  readonly format: "auto" | "text" | "json";
  /** Where text lines go, and whether that is a terminal. JSON goes to file descriptor 2. */
  readonly stderr: NodeJS.WritableStream;
  readonly isTerminal: boolean;
}

/** JSON lines leave in pieces of this size (sonic-boom writes no more than 16 KiB at once), or after FLUSH_MS. */
const BUFFER_BYTES = 15_360;
const FLUSH_MS = 250;

/** Makes the program's logger. */
export function createLogger(options: LogOptions): Logger {
  const base = { level: options.level, base: null, timestamp: stdTimeFunctions.isoTime };
  const isText = options.format === "text" || (options.format === "auto" && options.isTerminal);
  return pino(base, isText ? textStream(options.stderr) : (jsonLines ??= jsonStream()));
}

/** One for the process, however many loggers there are: it has a timer, and a listener of the process's exit. */
let jsonLines: DestinationStream | undefined;

function jsonStream(): DestinationStream {
  const stream = destination({ fd: 2, sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_MS });
  // Without a reader of the log there is nobody to tell.
  stream.on("error", () => undefined);
  process.on("exit", () => {
    try {
      stream.flushSync();
    } catch {
      // The stream was not open yet, or its reader is gone.
    }
  });
  return stream;
}

/** The facts of a flow that its log line has. */
export function flowFields(event: UsageEvent): Record<string, unknown> {
  const { data } = event;
  const common = {
    flow_id: data.flow_id,
    meter: data.meter,
    status: data.status,
    completeness: data.completeness,
    source: data.usage_source,
    latency_ms: data.latency_ms,
    agent_id: data.agent_id,
  };
  if (event.type === "connector.usage.v1") return { ...common, route: event.data.route, usage: event.data.usage };
  const { operation, response_model, request_model, totals, cost } = event.data;
  return {
    ...common,
    operation,
    model: response_model ?? request_model,
    input_tokens: totals.input_tokens,
    output_tokens: totals.output_tokens,
    cost: cost?.amount ?? null,
  };
}

const LEVELS: Readonly<Record<number, string>> = { 10: "trace", 20: "debug", 30: "", 40: "warning", 50: "error", 60: "fatal" };

/** Fields every pino record has; the rest is shown as name=value. */
const FRAME = new Set(["level", "time", "msg"]);

function textStream(stderr: NodeJS.WritableStream): DestinationStream {
  return {
    write(line) {
      const record: unknown = JSON.parse(line);
      if (typeof record === "object" && record !== null) stderr.write(`${textLine(record as Record<string, unknown>)}\n`);
    },
  };
}

/** `10:00:03 …`, local time. */
function textLine(record: Record<string, unknown>): string {
  const time = new Date(String(record["time"])).toTimeString().slice(0, 8);
  if (record["msg"] === "flow") return `${time} ${flowLine(record)}`;
  const level = LEVELS[Number(record["level"])] ?? "";
  const fields = Object.entries(record).filter(([name, value]) => !FRAME.has(name) && value !== null);
  const details = fields.map(([name, value]) => `${name}=${plain(typeof value === "string" ? value : JSON.stringify(value))}`);
  return [time, level === "" ? "" : `${level}:`, plain(String(record["msg"] ?? "")), ...details].filter((part) => part !== "").join(" ");
}

function flowLine(record: Record<string, unknown>): string {
  const subject = record["model"] ?? record["route"] ?? record["operation"] ?? "-";
  const counts =
    record["usage"] === undefined
      ? `${grouped(record["input_tokens"])} in  ${grouped(record["output_tokens"])} out`
      : Object.entries(record["usage"] as Record<string, unknown>).map(([name, value]) => `${name}=${grouped(value)}`).join(" ");
  const cost = record["cost"] === null || record["cost"] === undefined ? "" : `$${String(record["cost"])}`;
  const notes = [record["completeness"] === "complete" ? "" : record["completeness"], record["source"] === "estimate" ? "estimate" : ""];
  const parts = [record["meter"], subject, record["status"] ?? "-", counts, cost, `${Math.round(Number(record["latency_ms"]))} ms`, record["agent_id"] ?? "", ...notes];
  return plain(parts.filter((part) => part !== "" && part !== undefined).join("  "));
}

function grouped(value: unknown): string {
  return Number(value ?? 0).toLocaleString("en-US");
}

/** Nothing from outside may write on the terminal. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}
