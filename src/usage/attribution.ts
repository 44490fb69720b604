/**
 * Who a flow belongs to, strongest first: what the operator fixed, the user name of the proxy credentials, the
 * x-tallyman-* request headers (contract section 2). Values from outside are bounded and cleaned.
 */

import type { FlowHead } from "../flow/flow.ts";
import type { RawHeaders } from "../flow/headers.ts";

export interface Attribution {
  readonly orgId: string | null;
  readonly userId: string | null;
  readonly agentId: string | null;
  readonly threadId: string | null;
  readonly callerType: string | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Values fixed by the operator; null leaves the choice to the client. */
export type OperatorAttribution = Attribution;

export const MAX_VALUE_CHARS = 256;
export const MAX_METADATA_ENTRIES = 32;
const MAX_METADATA_NAME_CHARS = 64;
const META_PREFIX = "x-tallyman-meta-";

type Field = "orgId" | "userId" | "agentId" | "threadId" | "callerType";

const HEADER_FIELDS: Readonly<Record<string, Field>> = {
  "x-tallyman-org-id": "orgId",
  "x-tallyman-user-id": "userId",
  "x-tallyman-agent-id": "agentId",
  "x-tallyman-thread-id": "threadId",
  "x-tallyman-caller-type": "callerType",
};

const CREDENTIAL_FIELDS: Readonly<Record<string, Field>> = {
  org: "orgId",
  user: "userId",
  agent: "agentId",
  thread: "threadId",
  caller: "callerType",
};

/** Resolves the attribution of a flow. */
export function attribute(operator: OperatorAttribution, head: Pick<FlowHead, "proxyUser" | "attributionHeaders">): Attribution {
  if (head.proxyUser === undefined && head.attributionHeaders.length === 0) return operator;
  const claimed: Partial<Record<Field, string>> = {};
  const metadata: Record<string, string> = {};
  readHeaders(head.attributionHeaders, claimed, metadata);
  if (head.proxyUser !== undefined) readProxyUser(head.proxyUser, claimed);
  return {
    orgId: operator.orgId ?? claimed.orgId ?? null,
    userId: operator.userId ?? claimed.userId ?? null,
    agentId: operator.agentId ?? claimed.agentId ?? null,
    threadId: operator.threadId ?? claimed.threadId ?? null,
    callerType: operator.callerType ?? claimed.callerType ?? null,
    metadata: { ...metadata, ...operator.metadata },
  };
}

/** `agent_id`, or `agent_id;thread=T;org=O`. Unknown keys are ignored. */
function readProxyUser(proxyUser: string, claimed: Partial<Record<Field, string>>): void {
  const [agent = "", ...parts] = proxyUser.split(";");
  const agentId = cleanValue(agent);
  if (agentId !== undefined) claimed.agentId = agentId;
  for (const part of parts) {
    const equals = part.indexOf("=");
    const key = part.slice(0, Math.max(0, equals)).trim().toLowerCase();
    const field = Object.hasOwn(CREDENTIAL_FIELDS, key) ? CREDENTIAL_FIELDS[key] : undefined;
    const value = cleanValue(part.slice(equals + 1));
    if (field !== undefined && value !== undefined) claimed[field] = value;
  }
}

function readHeaders(headers: RawHeaders, claimed: Partial<Record<Field, string>>, metadata: Record<string, string>): void {
  let entries = 0;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] as string).toLowerCase();
    const value = cleanValue(Buffer.from(headers[i + 1] as string, "latin1").toString("utf8"));
    if (value === undefined) continue;
    const field = Object.hasOwn(HEADER_FIELDS, name) ? HEADER_FIELDS[name] : undefined;
    if (field !== undefined) claimed[field] = value;
    else if (name.startsWith(META_PREFIX) && entries < MAX_METADATA_ENTRIES) {
      const key = name.slice(META_PREFIX.length, META_PREFIX.length + MAX_METADATA_NAME_CHARS);
      if (key === "" || key === "__proto__") continue;
      metadata[key] = value;
      entries += 1;
    }
  }
}

/** Trimmed, without control characters, at most MAX_VALUE_CHARS (no half of a character pair); undefined when nothing is left. */
export function cleanValue(value: string): string | undefined {
  // eslint-disable-next-line no-control-regex -- control characters are what is taken out
  const text = value.replace(/[\u0000-\u001f\u007f]/g, "").trim().slice(0, MAX_VALUE_CHARS).toWellFormed();
  return text === "" ? undefined : text;
}
