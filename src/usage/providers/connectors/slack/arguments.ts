/** Arguments of a Web API call, wherever they stand: form or multipart field, JSON body, query (connectors.md section 3.2). */

import type { Hook, HookContext } from "../definition.ts";

/** Arguments that a hook asks for are short; texts beside them may not be. */
export const KEPT_ARGUMENT_BYTES = 256 * 1024;

/** An argument as text; undefined when it is absent, empty or no scalar. */
export function argument(context: HookContext, name: string): string | undefined {
  const value = given(context, name);
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

/** An argument that is a JSON array; in a form and in a query it is JSON in a string. Undefined when it is none. */
export function listArgument(context: HookContext, name: string): readonly unknown[] | undefined {
  const value = given(context, name);
  if (Array.isArray(value)) return value;
  if (typeof value !== "string") return undefined;
  try {
    const parsed: unknown = JSON.parse(value);
    return Array.isArray(parsed) ? parsed : undefined;
  } catch {
    return undefined; // Slack refuses such a call; what it answers is counted all the same.
  }
}

/** Notes how many users a call is meant for; the call itself counts once. */
export const countTargets: Hook = {
  onSuccess(context) {
    const users = argument(context, "users")?.split(",").filter((user) => user.trim() !== "") ?? [];
    if (users.length > 0) context.setDim("targets", String(users.length));
  },
};

function given(context: HookContext, name: string): unknown {
  const { form, json } = context.requestBody();
  const inBody = form?.get(name) ?? (isRecord(json) ? json[name] : undefined);
  return inBody ?? context.query.get(name) ?? undefined;
}

/** Whether an unknown value is an object with named members. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
