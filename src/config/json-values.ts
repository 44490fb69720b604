/** Kinds of settings values that are JSON or have a grammar of their own: metadata, headers, budgets, webhook secrets, what is billable. */

import { z } from "zod";

import { type Parsed, type ValueKind, invalid, kindOf, valid } from "./value-kind.ts";

/** A limit on use. See section "Budgets" of docs/configuration.md. */
export interface Budget {
  /** Unique. */
  readonly name: string;
  readonly scope: "all" | "org" | "user" | "agent" | "thread" | "model" | "meter";
  /** UTC. */
  readonly window: "hour" | "day" | "month" | "total";
  /** Decimal string. At least one of `maxUsd` and `maxTokens` is set. */
  readonly maxUsd: string | undefined;
  readonly maxTokens: number | undefined;
  /** Shares of the limit, over 0 and up to 1, rising. */
  readonly warnAt: readonly number[];
  /** Pattern over the scope's value, `*` for any text; undefined: every value. */
  readonly match: string | undefined;
}

/** `meter`, or one credential of it. */
export interface BillableRule {
  readonly meter: string;
  readonly keyFingerprint: string | undefined;
}

/** `"all"`, `"none"`, or the flows that match a rule. */
export type Billable = "all" | "none" | readonly BillableRule[];

const MAX_ENTRIES = 64;

const metadataSchema = z.record(z.string().min(1).max(128), z.string().max(1024)).refine(hasFewEntries, `at most ${MAX_ENTRIES} entries`);

/** A flat JSON object of strings. */
export const metadata: ValueKind<Readonly<Record<string, string>>> = jsonKind(
  'a JSON object of strings, such as {"team":"search"}',
  metadataSchema,
  JSON.stringify,
);

const MAX_NAMES = 10_000;

/** Our names to those of a billing system. */
export const names: ValueKind<Readonly<Record<string, string>>> = jsonKind(
  'a JSON object of strings, such as {"acme":"cus_NciAYcXfLnqBoz"}',
  z.record(z.string().min(1).max(256), z.string().min(1).max(256)).refine((record) => Object.keys(record).length <= MAX_NAMES, `at most ${MAX_NAMES} entries`),
  JSON.stringify,
);

/** Fields that the delivery sets by itself, or that frame the message. */
const RESERVED_HEADERS = new Set([
  "connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive", "te", "trailer",
  "transfer-encoding", "upgrade", "webhook-id", "webhook-signature", "webhook-timestamp",
]);

const headersSchema = z
  .record(
    z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, "an entry has no valid header name").refine((name) => !RESERVED_HEADERS.has(name.toLowerCase()), "an entry names a header that Tallyman sets itself"),
    z.string().regex(/^[\x20-\x7e\x80-\xff\t]{0,4096}$/, "an entry has no valid header value"),
  )
  .refine(hasFewEntries, `at most ${MAX_ENTRIES} entries`);

/** Extra headers of each post. */
export const requestHeaders: ValueKind<Readonly<Record<string, string>>> = jsonKind(
  'a JSON object of header names and values, such as {"authorization":"Bearer …"}',
  headersSchema,
  JSON.stringify,
  { hasSecretKeys: true },
);

const budgetSchema = z
  .strictObject({
    name: z.string().min(1).max(128),
    scope: z.enum(["all", "org", "user", "agent", "thread", "model", "meter"]),
    window: z.enum(["hour", "day", "month", "total"]),
    max_usd: z.string().regex(/^(?!0+(\.0*)?$)\d{1,12}(\.\d{1,12})?$/, 'must be a decimal string over zero, such as "25.00"').optional(),
    max_tokens: z.int().positive().optional(),
    warn_at: z.array(z.number().gt(0).lte(1)).max(16).default([]),
    match: z.string().min(1).max(256).optional(),
  })
  .refine((budget) => budget.max_usd !== undefined || budget.max_tokens !== undefined, "needs max_usd or max_tokens")
  .transform((budget): Budget => ({
    name: budget.name,
    scope: budget.scope,
    window: budget.window,
    maxUsd: budget.max_usd,
    maxTokens: budget.max_tokens,
    warnAt: [...new Set(budget.warn_at)].toSorted((a, b) => a - b),
    match: budget.match,
  }));

const budgetsSchema = z.array(budgetSchema).max(1000).refine((list) => new Set(list.map((budget) => budget.name)).size === list.length, "budget names must differ");

/** A JSON array of budgets. */
export const budgets: ValueKind<readonly Budget[]> = jsonKind(
  'a JSON array of budgets, such as [{"name":"daily","scope":"agent","window":"day","max_usd":"25.00"}]',
  budgetsSchema,
  (list) => JSON.stringify(list.map(budgetJson)),
);

function budgetJson(budget: Budget): Record<string, unknown> {
  const { name, scope, window, match } = budget;
  return { name, scope, window, max_usd: budget.maxUsd, max_tokens: budget.maxTokens, warn_at: budget.warnAt, match };
}

/** Keys of Standard Webhooks, decoded from `whsec_` + base64: the first signs too while a second is rotated in. */
export const webhookSecrets: ValueKind<readonly string[]> = kindOf(
  "whsec_ followed by base64 (24 bytes or more are wise), or two of them separated by a space",
  (text) => {
    const secrets = text.split(/\s+/);
    return secrets.length <= 2 && secrets.every(isWebhookSecret) ? secrets : undefined;
  },
  (secrets) => secrets.join(" "),
);

function isWebhookSecret(text: string): boolean {
  const encoded = text.startsWith("whsec_") ? text.slice("whsec_".length) : "";
  return encoded !== "" && encoded.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(encoded);
}

/** Only hexadecimal digits, so that a key that stands where its fingerprint belongs is refused, not kept and shown. */
const BILLABLE_RULE = /^([a-z0-9][a-z0-9_.-]{0,63})(?::([0-9a-f]{4,64}))?$/;

export const billable: ValueKind<Billable> = kindOf<Billable>(
  "all, none, or comma-separated meter ids and meter:key-fingerprint (the first hexadecimal digits of the key's SHA-256)",
  (text) => {
    if (text === "all" || text === "none") return text;
    const items = text.split(",").map((item) => item.trim()).filter((item) => item !== "");
    const rules = items.map((item) => BILLABLE_RULE.exec(item));
    if (rules.length === 0 || rules.some((rule) => rule === null || rule[0] === "all" || rule[0] === "none")) return undefined;
    return rules.map((rule) => ({ meter: rule?.[1] ?? "", keyFingerprint: rule?.[2] }));
  },
  (value) => (typeof value === "string" ? value : value.map(({ meter, keyFingerprint }) => (keyFingerprint === undefined ? meter : `${meter}:${keyFingerprint}`)).join(",")),
);

/** Problems name the place and the rule, never the value; with `hasSecretKeys` not even a key, for name and value may have been swapped. */
function jsonKind<T>(
  allowed: string,
  schema: z.ZodType<T>,
  format: (value: T) => string,
  { hasSecretKeys = false }: { readonly hasSecretKeys?: boolean } = {},
): ValueKind<T> {
  return {
    allowed,
    parse: (text): Parsed<T> => {
      const document = parseJson(text);
      if (document === undefined) return invalid(`${allowed}; it is not JSON`);
      const result = schema.safeParse(document.value);
      if (result.success) return valid(result.data);
      return invalid(`${allowed}; ${result.error.issues.slice(0, 5).map((issue) => describeIssue(issue, hasSecretKeys)).join("; ")}`);
    },
    format,
  };
}

function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    // The parser's message quotes the text, which may be a secret.
    return undefined;
  }
}

function describeIssue(issue: z.core.$ZodIssue, hasSecretKeys: boolean): string {
  const place = hasSecretKeys ? "" : issue.path.map((step) => (typeof step === "number" ? `item ${step + 1}` : String(step))).join(", ");
  const reason = issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  return place === "" ? reason : `${place}: ${reason}`;
}

function hasFewEntries(record: Record<string, string>): boolean {
  return Object.keys(record).length <= MAX_ENTRIES;
}
