/**
 * The language in which a connector is written: a table of routes, and what each of them counts. Types only; the
 * interpreter gives them their meaning, load-definition.ts reads the same from JSON. Sources: reference/connectors.md
 * sections 1 (rules for every connector) and 6 (types and semantics).
 *
 * In short: a route is found by method and path template (the most specific one counts). A response is a success when
 * its status is 2xx and the predicates of the definition and of the route hold; only a success counts anything. Meters
 * give counts by category; a count that is not positive, or not known, is left out. Everything that a meter may look at
 * in a response is known before its first byte, so that one pass without a document in memory is enough.
 */

import type { HostPattern } from "../../handler.ts";

/**
 * Where a value stands in a JSON document: keys joined by ".", "" is the document itself. "*" stands for every array
 * element and every value of an object: "data", "messages.matches", "data.*.id". At most MAX_PATH_STEPS keys.
 */
export type Path = string;

/** A connector. Every fault in it is found when it is compiled, with the route's id. */
export interface ConnectorDefinition {
  /** The event's `meter`: "x". Definitions that are compiled together share it, and the `state` of their hooks. */
  readonly id: string;
  /** Date of the facts: "2026-11-22". */
  readonly revision: string;
  /** Exact hosts win over wildcards, also those of other definitions. */
  readonly hosts: readonly HostPattern[];
  /** Hosts under its wildcards with other things than the API: their connections pass as tunnels. */
  readonly exceptHosts?: readonly HostPattern[];
  /** On a host with other APIs: only paths that begin with one of these are the connector's. Others pass unread. */
  readonly pathPrefixes?: readonly string[];
  /** Prefixes that are taken for others when a route is looked for. The first that fits counts, once. */
  readonly aliases?: readonly PathAlias[];
  /** What makes a 2xx response a success. */
  readonly success?: Predicate;
  /** Meters by name, for `{ use: name }`. */
  readonly shared?: Readonly<Record<string, readonly MeterLike[]>>;
  readonly routes: readonly Route[];
  /**
   * A path that no route has: "requests" (the default) counts `requests.unmatched` 1 per success under a route named
   * by method and templated path; "ignore" counts nothing and reads nothing.
   */
  readonly unmatched?: "requests" | "ignore";
  /** What the table cannot say, by name. Only in code. */
  readonly hooks?: Readonly<Record<string, Hook>>;
}

/** Whole segments: { from: "/2/posts", to: "/2/tweets" } leaves "/2/postscript" alone. */
export interface PathAlias {
  readonly from: string;
  readonly to: string;
}

export interface Route {
  /** Stable: it is the event's `route`. */
  readonly id: string;
  /** Upper case; "*" is any, and gives way to a named one. */
  readonly method: string | readonly string[];
  /**
   * "/2/tweets/{id}", "/keys/{key}:disable", "/repos/{owner}/{repo}/**" (any rest, also none; only at the end). A
   * literal beats `{x}:verb` beats `{x}` beats `/**`, leftmost segment first. Compared after one percent-decoding,
   * case kept, without slashes at the end. A tie is a fault of the definition.
   */
  readonly path: string | readonly string[];
  /** The query must have these parameters; `true`: with any value. Of equal paths the more demanding route counts. */
  readonly query?: Readonly<Record<string, string | true>>;
  /** Chooses between routes of equal path. May look at query, path parameters and request headers only. */
  readonly when?: Predicate;
  /** A further condition of success: { has: "data.id" }. */
  readonly success?: Predicate;
  /**
   * How the response body is read. "json" (the default): one document. "ndjson" and "sse": meters run for each record
   * (line or event) and their counts are added up; `success` of the route and the definition is then asked of each
   * record. "text": for { text }; of a short one that is a JSON object paths are looked at too. "none": not at all. "frames": a WebSocket; needs a hook with onFrame.
   */
  readonly body?: "json" | "ndjson" | "sse" | "text" | "none" | "frames";
  /** Absent: the request body is not kept, and nothing may ask for it (`reqLen` …, `requestBody()` of a hook). */
  readonly request?: RequestBodyRule;
  /**
   * The body holds further exchanges. "google-batch": multipart/mixed of HTTP messages, each run through this
   * definition's routes. "mcp": JSON-RPC; `tools` maps. Both need `request`. Beside it the route's own meters run once; all
   * of it is one reading, of this route. The definition's `success` is not asked of the outer response. A tool call that
   * succeeded is `mcp.tool_calls` 1; a write inside whose answer did not come adds to `attempted`.
   */
  readonly expand?: "google-batch" | "mcp";
  /** Of "mcp": tool name to the id of the route whose meters its result runs through. */
  readonly tools?: Readonly<Record<string, string>>;
  /** Absent or empty, and no hook and no expand: the route is free, and nothing of it is read or kept. */
  readonly meters?: readonly MeterLike[];
  /** Name of a hook of the definition. */
  readonly hook?: string;
  /** Counts for a success whose body was cut or is not what it should be: request hints. They make it an estimate. */
  readonly fallback?: readonly Meter[];
  /**
   * Whether a lost answer may hide an effect. Default: "read" for GET, HEAD and OPTIONS, else "write". A write whose
   * answer was lost gives `{ attempted: 1 }` with completeness "unknown".
   */
  readonly effect?: "read" | "write";
  /** Facts beside the counts, of few values each. Also of failures. Never text, names or addresses. */
  readonly dims?: Readonly<Record<string, Dim>>;
}

export interface RequestBodyRule {
  /**
   * How it is parsed. Default "auto": by its content type (JSON, form, multipart; without one JSON, then form).
   * "raw": not at all; a hook takes the bytes.
   */
  readonly parse?: "auto" | "json" | "form" | "multipart" | "raw";
  /** Bytes kept from the start, at most MAX_REQUEST_BYTES. Of a longer JSON or form body `req…` is unknown; of multipart, fields after the cut. */
  readonly maxBytes: number;
}

export type MeterLike = Meter | MapMeter | MeterUse;

/** Adds `count` to `category`. Several meters may share a category. */
export interface Meter {
  /** Lower case, digits, "_" and ".": "posts.read". */
  readonly category: string;
  readonly count: Expr;
  readonly when?: Predicate;
  /**
   * Where the ids of what is counted stand ("data.*.id"), for optional de-duplication: `<category>.unique` is how many of
   * the count were not counted before on this UTC day for this credential (0 when all were).
   */
  readonly ids?: Path;
  /** `count` only ever grows for one key (a job id): count the growth since the key was last seen. */
  readonly cumulative?: { readonly key: Path };
  /** The number is not firm: the reading's source is then "estimate". */
  readonly estimated?: boolean | Predicate;
}

/** For each key of the object at `each`: `len` of its value, in the category that `map` gives the key. */
export interface MapMeter {
  readonly each: Path;
  readonly map: Readonly<Record<string, string>>;
  /**
   * The category of other keys, such as "includes.{key}". Keys that are not [A-Za-z0-9_.-]{1,64}, and those after the
   * first MAX_UNKNOWN_KEYS of an exchange or MAX_UNKNOWN_KEYS_OF_ALL of all, are counted under the key "_other".
   */
  readonly unknown: string;
  /** The id within an element ("id"), as Meter.ids. */
  readonly ids?: string;
}

export interface MeterUse {
  readonly use: string;
}

/** A number, or not known. Operands named `req…` look at the request, `query` and `csv` at its query, the rest at the response. */
export type Expr =
  | number
  /** Over all matches: an array its length, an object 1, anything else 0. Never unknown. */
  | { readonly len: Path }
  /** Number of keys of the objects there. */
  | { readonly keys: Path }
  /** The first match that is a finite number; a numeric string is one. */
  | { readonly num: Path }
  /** As len and num, in the request; a form field with a JSON array or object in it is read as that. Unknown without a whole body. */
  | { readonly reqLen: Path }
  | { readonly reqNum: Path }
  /** How many non-empty parts a query parameter has between commas; unknown without it. */
  | { readonly csv: string }
  /** A query parameter, or a response header, as a number. */
  | { readonly query: string }
  | { readonly header: string }
  /** Bytes of the body, decoded, whether kept or not. */
  | { readonly bytes: "request" | "response" }
  /** Sum and max leave unknown operands out; unknown when all are. mul is unknown when one is. */
  | { readonly sum: readonly Expr[] }
  | { readonly max: readonly Expr[] }
  | { readonly mul: readonly Expr[] }
  /** Divided by a positive number, rounded up. */
  | { readonly ceilDiv: readonly [Expr, number] }
  /** The value when it lies within [least, most], else unknown. */
  | { readonly within: readonly [Expr, number, number] }
  /** The first that is known. */
  | { readonly first: readonly Expr[] }
  /** Without `else`: unknown when the predicate does not hold. */
  | { readonly when: Predicate; readonly then: Expr; readonly else?: Expr };

export type Scalar = string | number | boolean;

/**
 * True, false, or unknown (the part of the body that would tell is missing). Unknown counts as "not yet": a success that
 * is unknown is a lost answer, a meter whose `when` is unknown is left out.
 */
export type Predicate =
  /** The first scalar match in the response equals this. */
  | { readonly eq: readonly [Path, Scalar] }
  /** A match that is not null exists. */
  | { readonly has: Path }
  /** The body, trimmed, is exactly this. Needs body "text". */
  | { readonly text: string }
  /** Least and most. */
  | { readonly status: readonly [number, number] }
  /** The response's media type, without parameters; case does not matter. */
  | { readonly contentType: string }
  /** A response header with exactly this value; a request header likewise; `true`: with any value. Names in any case. */
  | { readonly headerEq: readonly [string, string | true] }
  | { readonly reqHeader: readonly [string, string | true] }
  | { readonly reqHas: Path }
  | { readonly reqEq: readonly [Path, Scalar] }
  | { readonly queryHas: string }
  | { readonly queryEq: readonly [string, string] }
  /** A parameter of the path template ({id}) has this value. */
  | { readonly paramEq: readonly [string, string] }
  | { readonly all: readonly Predicate[] }
  | { readonly any: readonly Predicate[] }
  | { readonly not: Predicate };

/** Where a dim's value comes from. Values that are not [A-Za-z0-9_.:-]{1,64} are left out; `is` gives "true" or "false". */
export type Dim =
  | { readonly path: Path }
  | { readonly req: Path }
  | { readonly query: string }
  | { readonly header: string }
  | { readonly is: Predicate };

/**
 * Code for what the table cannot say. Called after the bytes have passed; what it throws makes this exchange (of a stream:
 * this record) unmeasured and nothing else. Must return at once: no I/O, no timers.
 */
export interface Hook {
  /** Response paths that the hook asks `probe` for. */
  readonly probes?: readonly Path[];
  /** Once, after a successful response (body kinds json, text, none). The route's meters have run. */
  onSuccess?(context: HookContext): void;
  /** Once, after any other response whose outcome is known. To remember things: what it emits is dropped. */
  onFailure?(context: HookContext): void;
  /** For each record of ndjson and sse that is JSON. */
  onRecord?(context: HookContext, record: unknown): void;
  /** For each text message of a WebSocket, in either direction. Facts that it sets go with what it emits in the same call. */
  onFrame?(context: HookContext, direction: "up" | "down", text: string): void;
}

export interface HookContext {
  readonly routeId: string;
  /** Of the path template, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly method: string;
  readonly host: string;
  /** As sent: percent-encoded, without the query. */
  readonly path: string;
  /** Of the response. */
  readonly status: number;
  /** Salted hash of the credential that the request carries (another one in each process); "" without one. */
  readonly account: string;
  /** First value, name in lower case. */
  requestHeader(lowerName: string): string | undefined;
  responseHeader(lowerName: string): string | undefined;
  requestBody(): RequestBody;
  /** The first scalar at a path of `probes` or of the route's meters; undefined when there is none. */
  probe(path: Path): Scalar | undefined;
  /** `len` of a path, as above. */
  probeLength(path: Path): number;
  /** Adds to a category (of the same form as in a Meter). A number that is not positive and finite is left out. */
  emit(category: string, count: number, options?: { readonly isEstimated?: boolean }): void;
  /** Sets a fact of the reading, in the form of `dims`. */
  setDim(name: string, value: string): void;
  /** Memory of this connector over exchanges, of all accounts: put the account into the key where it matters. */
  readonly state: ConnectorState;
}

/** Bounded (the entry that was touched longest ago goes first), in memory only: gone at a restart. */
export interface ConnectorState {
  get(key: string): unknown;
  set(key: string, value: unknown, ttlMs: number): void;
  delete(key: string): void;
}

/** The request's body as far as it was kept. */
export interface RequestBody {
  /** The document; undefined when it is no JSON or was cut. */
  readonly json: unknown;
  /** Fields of a form or of multipart (without file contents), the first of each name; undefined for other bodies. */
  readonly form: ReadonlyMap<string, string> | undefined;
  /** The first bytes, at most `maxBytes` of the rule. Only valid during the hook's call. */
  readonly raw: Uint8Array;
  /** More came than was kept, or the request broke off. */
  readonly isTruncated: boolean;
  /** All bytes that came, kept or not. */
  readonly totalBytes: number;
}

/** Bounds that are part of the language. */
export const MAX_UNKNOWN_KEYS = 64;
/** Of all exchanges of a connector since the start: categories do not grow without end. */
export const MAX_UNKNOWN_KEYS_OF_ALL = 256;
export const MAX_PATH_STEPS = 16;
export const MAX_REQUEST_BYTES = 4 * 1024 * 1024;

/** Counted by the interpreter itself. */
export const UNMATCHED_CATEGORY = "requests.unmatched";
/** Lines of a stream that were no JSON, a cut one among them. It has no price. */
export const BAD_LINES_CATEGORY = "_bad_lines";
export const ATTEMPTED_CATEGORY = "attempted";
