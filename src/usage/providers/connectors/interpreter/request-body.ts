/**
 * The request's body as far as a route asks for it: its first bytes are kept, up to the route's bound, and parsed only
 * when something asks. Nothing of it outlives the exchange.
 */

import { getHeader } from "../../../../flow/headers.ts";
import { boundaryOf, parameterOf, splitMultipart } from "../../../extract/multipart.ts";
import type { RequestBody, RequestBodyRule } from "../definition.ts";
import type { ProbePlan } from "./probe-plan.ts";
import { Probes } from "./probes.ts";

type Kind = "json" | "form" | "multipart" | "raw";

interface ParsedBody {
  readonly body: RequestBody;
  readonly probes: Probes | undefined;
}

/** Fields of a form beyond this are not read. */
const MAX_FIELDS = 1000;

export class RequestKeeper {
  private readonly rule: RequestBodyRule | undefined;
  private readonly contentType: string | undefined;
  private readonly plan: ProbePlan;
  private chunks: Buffer[] = [];
  private keptBytes = 0;
  private totalBytes = 0;
  private hasEnded = false;
  private isCut = false;
  private parsed: ParsedBody | undefined;

  /** Without a rule only the size is known. `contentType`: of the request. */
  constructor(rule: RequestBodyRule | undefined, contentType: string | undefined, plan: ProbePlan) {
    this.rule = rule;
    this.contentType = contentType;
    this.plan = plan;
  }

  /** All bytes that came. */
  get bytes(): number {
    return this.totalBytes;
  }

  push(chunk: Uint8Array): void {
    this.totalBytes += chunk.length;
    const room = (this.rule?.maxBytes ?? 0) - this.keptBytes;
    if (chunk.length > room) this.isCut = true;
    if (room <= 0 || chunk.length === 0) return;
    // The chunk is only lent.
    const kept = Buffer.from(chunk.subarray(0, room));
    this.chunks.push(kept);
    this.keptBytes += kept.length;
  }

  end(): void {
    this.hasEnded = true;
  }

  body(): RequestBody {
    return this.parse().body;
  }

  /** undefined: the body is not known whole, or is nothing that has paths. */
  probes(): Probes | undefined {
    return this.parse().probes;
  }

  private parse(): ParsedBody {
    if (this.parsed !== undefined) return this.parsed;
    const parsed = this.parseKept();
    // Asked before its end: more may come.
    if (this.hasEnded) {
      this.parsed = parsed;
      this.chunks = [];
    }
    return parsed;
  }

  private parseKept(): ParsedBody {
    const raw = Buffer.concat(this.chunks);
    const isTruncated = this.isCut || !this.hasEnded;
    const kind = this.kind(raw);
    const json = kind === "json" && !isTruncated ? parseJson(raw) : undefined;
    const form = this.form(kind, raw, isTruncated);
    const body = { json, form, raw, isTruncated, totalBytes: this.totalBytes };
    const document = form === undefined ? json : documentOf(form);
    const isEmpty = raw.length === 0 && !isTruncated;
    if (isTruncated || (document === undefined && !isEmpty)) return { body, probes: undefined };
    const probes = new Probes(this.plan);
    probes.document(document ?? {});
    return { body, probes };
  }

  private form(kind: Kind, raw: Buffer, isTruncated: boolean): ReadonlyMap<string, string> | undefined {
    if (kind === "multipart") return multipartFields(raw, this.contentType);
    return kind === "form" && !isTruncated ? formFields(raw) : undefined;
  }

  private kind(raw: Buffer): Kind {
    const { parse = "auto" } = this.rule ?? {};
    if (parse !== "auto") return parse;
    const type = this.contentType?.split(";", 1)[0]?.trim().toLowerCase();
    if (type === undefined || type === "") return isJsonStart(raw) ? "json" : "form";
    if (type === "application/x-www-form-urlencoded") return "form";
    if (type === "multipart/form-data") return "multipart";
    return /^application\/(?:[^/]*\+)?json$/.test(type) || type === "text/json" ? "json" : "raw";
  }
}

function isJsonStart(raw: Buffer): boolean {
  const first = raw.toString("latin1", 0, 64).trimStart()[0];
  return first === "{" || first === "[";
}

function formFields(raw: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(raw.toString("utf8"))) {
    if (fields.size >= MAX_FIELDS) break;
    if (!fields.has(name)) fields.set(name, value);
  }
  return fields;
}

/** Fields of multipart/form-data (RFC 7578). Of a file only its name in the form is told, with an empty value. */
function multipartFields(raw: Buffer, contentType: string | undefined): ReadonlyMap<string, string> | undefined {
  const boundary = boundaryOf(contentType);
  if (boundary === undefined) return undefined;
  const fields = new Map<string, string>();
  for (const { headers, body, isWhole } of splitMultipart(raw, boundary)) {
    const disposition = getHeader(headers, "content-disposition") ?? "";
    const name = parameterOf(disposition, "name");
    if (name === undefined || fields.has(name)) continue;
    const isFile = ["filename", "filename*"].some((each) => parameterOf(disposition, each) !== undefined);
    if (isFile) fields.set(name, "");
    else if (isWhole) fields.set(name, Buffer.from(body).toString("utf8"));
  }
  return fields;
}

/** A field with a JSON array or object in it is read as that (Slack's SDK sends nested values so). */
function documentOf(form: ReadonlyMap<string, string>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Array.from(form, ([name, value]) => [name, /^\s*[[{]/.test(value) ? (parseJson(Buffer.from(value)) ?? value) : value]));
}

/** undefined: no JSON. The error is left out because it would repeat a part of the body. */
function parseJson(raw: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(raw.toString("utf8"));
    return value;
  } catch {
    return undefined;
  }
}
