/**
 * Reads jobs of OpenAI's APIs that begin in one exchange and are seen to end in another: runs of Assistants, turns of
 * agents and videos (reference/model-usage.md sections 5.6.8, 5.6.10, 5.6.11). Each is counted once, by its own id, in the
 * exchange that first shows its end, for jobs that an exchange here began. Steps repeat their run's part and are not read.
 */

import type { ModelUsage } from "../../categories.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import type { SseEvent } from "../../extract/sse.ts";
import type { ExchangeInfo, Reader, ReaderContext, Reading } from "../../handler.ts";
import { createBodyReader } from "./body-reader.ts";
import type { BodyEnd, ModelProtocol } from "./body-reader.ts";
import { createFormRequest } from "./form-request.ts";
import type { FormRequest } from "./form-request.ts";
import { asObject, countOf, textOf } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { responsesTraits } from "./openai-dialect.ts";
import type { OpenAiDialect } from "./openai-dialect.ts";
import { mapResponsesUsage, OPENAI_COUNTS } from "./openai-usage.ts";
import { freeReading, measuredReading } from "./reading.ts";
import { hasCount } from "./snapshot.ts";
import { scanText } from "./socket-event.ts";

/** What a job is, by which its object is known in a stream, and what it counts. */
export type JobKind = "run" | "turn" | "video";

export interface JobTraits {
  readonly kind: JobKind;
  /** `start`: the exchange makes the job. `fetch`: it shows one, goes on with it or ends it. */
  readonly role: "start" | "fetch";
}

/** The reader of one exchange that begins a job, or shows one. */
export function createJobReader(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, traits: JobTraits): Reader {
  const request = createFormRequest(exchange);
  return createBodyReader(new JobProtocol(exchange, context, dialect, traits, request), request);
}

const MEMBERS: readonly JsonPath[] = [["id"], ["object"], ["status"], ["model"], ["usage"], ["seconds"], ["error"]];

/** An event of a stream is the job itself (Assistants), or has it in a member. */
const EVENT_PATHS: readonly JsonPath[] = [...MEMBERS, ...["turn", "data"].flatMap((name) => MEMBERS.map((path) => [name, ...path]))];

const EVENT_NAMES: Readonly<Record<JobKind, RegExp>> = { run: /^thread\.run\.(?!step)/, turn: /turn\./, video: /^$/ };

/** The rest are queued, in progress, or wait for somebody. */
const ENDS = new Set(["completed", "failed", "cancelled", "expired", "incomplete"]);

class JobProtocol implements ModelProtocol {
  readonly jsonPaths = MEMBERS;
  private readonly exchange: ExchangeInfo;
  private readonly context: ReaderContext;
  private readonly dialect: OpenAiDialect;
  private readonly traits: JobTraits;
  private readonly request: FormRequest;
  private members = new Map<string, unknown>();

  constructor(exchange: ExchangeInfo, context: ReaderContext, dialect: OpenAiDialect, traits: JobTraits, request: FormRequest) {
    this.exchange = exchange;
    this.context = context;
    this.dialect = dialect;
    this.traits = traits;
    this.request = request;
  }

  jsonValue(path: JsonPath, value: unknown): void {
    if (value !== null) this.members.set(path.at(-1) ?? "", value);
  }

  event({ event, data }: SseEvent): void {
    if (event === undefined || !EVENT_NAMES[this.traits.kind].test(event)) return;
    scanText(data, EVENT_PATHS, (path, value) => this.jsonValue(path, value));
  }

  conclude(body: BodyEnd): readonly Reading[] {
    const id = textOf(this.members.get("id")) ?? null;
    const status = textOf(this.members.get("status"));
    const usage = status !== undefined && ENDS.has(status) ? this.usage(status) : undefined;
    const { jobs } = this.context;
    if (this.traits.role === "start" && id !== null && status !== undefined) jobs.start(id);
    const isKnown = body.transport !== "undecodable" && (body.framing === "sse" || body.isDocumentWhole);
    if (usage === undefined || id === null || !isKnown || !jobs.finish(id)) return [this.free(id, body)];
    return [
      measuredReading({
        request: this.request.facts(),
        responseModel: textOf(this.members.get("model")) ?? null,
        responseId: id,
        serviceTier: null,
        streamed: body.framing === "sse",
        isWhole: true,
        reported: usage,
        estimates: undefined,
        priceHints: { ...this.dialect.exchangeHints?.(this.exchange, body.response) },
      }),
    ];
  }

  /** Undefined: the job, as far as is known, has cost nothing. */
  private usage(status: string): ModelUsage | undefined {
    if (this.traits.kind === "video") {
      const seconds = countOf(Number(this.members.get("seconds")));
      return status === "completed" && seconds !== undefined ? { video_seconds_out: seconds } : undefined;
    }
    const raw: JsonObject | undefined = asObject(this.members.get("usage"));
    return raw !== undefined && hasCount(raw, OPENAI_COUNTS) ? mapResponsesUsage(raw, responsesTraits(this.dialect)).usage : undefined;
  }

  private free(id: string | null, { framing }: BodyEnd): Reading {
    const isError = this.members.has("error") && id === null;
    const ofJob = this.traits.role === "start" ? "response_pending" : "response_fetched";
    return freeReading(isError ? "error_body" : ofJob, { requestModel: this.request.facts().model, responseId: id, streamed: framing === "sse" });
  }
}
