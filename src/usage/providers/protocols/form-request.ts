/**
 * Requests that come as JSON or, with a file in them, as a form: images, audio and videos of OpenAI's shape
 * (reference/model-usage.md section 3.6). A few small members are kept, files are stepped over.
 */

import { getHeader } from "../../../flow/headers.ts";
import { createInputEstimate } from "../../estimate/input-estimate.ts";
import { createJsonScan } from "../../extract/json-scan.ts";
import { boundaryOf, createMultipartReader, parameterOf } from "../../extract/multipart.ts";
import type { PartSink } from "../../extract/multipart.ts";
import type { ExchangeInfo } from "../../handler.ts";
import { textOf } from "./json-values.ts";
import { createRequestReader } from "./request-facts.ts";
import type { RequestFacts, RequestReader } from "./request-facts.ts";

export interface FormRequest extends RequestReader {
  /** A member of the request, whichever way it came: a string of a form, any value of JSON. */
  field(name: string): unknown;
}

export interface FormRequestOptions {
  /** Members beside `model`, `stream` and `prompt`. */
  readonly names?: readonly string[];
  /** Bytes of the form's files, as they pass. */
  readonly onFile?: (name: string, bytes: Uint8Array) => void;
}

/** The longest text that a member holds: OpenAI's prompts of images and speech have less. */
const MAX_FIELD_BYTES = 128 * 1024;

const NOTHING_SAID: RequestFacts = createRequestReader([["model"]]).facts();

/** Of a form only `prompt` and `input` weigh as text. */
export function createFormRequest(exchange: ExchangeInfo, { names = [], onFile }: FormRequestOptions = {}): FormRequest {
  const values = new Map<string, unknown>();
  const estimate = createInputEstimate();
  const boundary = boundaryOf(getHeader(exchange.headers, "content-type"));
  const wanted = ["model", "stream", "prompt", ...names];
  const keep = (name: string, value: unknown): void => {
    if (wanted.includes(name)) values.set(name, value);
    if (TEXT_FIELDS.has(name) && typeof value === "string") estimate.push(Buffer.from(value));
  };
  const body =
    boundary === undefined
      ? createJsonScan({ paths: pathsOf(wanted), maxValueBytes: MAX_FIELD_BYTES, onValue: (path, value) => keep(path[0] ?? "", value) })
      : createMultipartReader({ boundary, onPart: (headers) => partSink(getHeader(headers, "content-disposition"), keep, onFile) });
  return {
    push: (chunk) => body.push(chunk),
    facts: () => ({
      ...NOTHING_SAID,
      model: textOf(values.get("model")) ?? null,
      isStream: values.get("stream") === true || values.get("stream") === "true",
    }),
    inputTokens: () => estimate.tokens(),
    field: (name) => values.get(name),
  };
}

/** Takes a field, or shows a file. */
function partSink(disposition: string | undefined, keep: (name: string, value: string) => void, onFile: FormRequestOptions["onFile"]): PartSink | undefined {
  const name = disposition === undefined ? undefined : parameterOf(disposition, "name");
  if (disposition === undefined || name === undefined) return undefined;
  const isFile = parameterOf(disposition, "filename") !== undefined || parameterOf(disposition, "filename*") !== undefined;
  if (isFile) return onFile === undefined ? undefined : { push: (chunk) => onFile(name, chunk), end: () => undefined };
  const chunks: Uint8Array[] = [];
  let size = 0;
  return {
    push(chunk) {
      size += chunk.length;
      if (size <= MAX_FIELD_BYTES) chunks.push(Uint8Array.from(chunk));
    },
    end: (isWhole) => isWhole && size <= MAX_FIELD_BYTES && keep(name, Buffer.concat(chunks).toString("utf8")),
  };
}

const TEXT_FIELDS = new Set(["prompt", "input"]);

/** The scan keeps what it derives from a table of paths as long as the table lives. */
const tables = new Map<string, readonly (readonly string[])[]>();

function pathsOf(names: readonly string[]): readonly (readonly string[])[] {
  const key = names.join(" ");
  let table = tables.get(key);
  if (table === undefined) tables.set(key, (table = names.map((name) => [name])));
  return table;
}
