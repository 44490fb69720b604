/** Settings as text for people and for `tallyman config`: as they would be written in the environment, secrets left out. */

import type { NamedSetting, Settings } from "./settings.ts";

/** Undefined where nothing is set. A secret is never more than "set (redacted)". */
export function showSetting(row: NamedSetting, settings: Settings): string | undefined {
  const value: unknown = Object.entries(settings).find(([name]) => name === row.name)?.[1];
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return undefined;
  const text = row.kind.format(value);
  if (row.isSecret) return text === "{}" ? undefined : "set (redacted)";
  return row.name === "webhookUrl" ? withoutQuery(text) : text;
}

/** A webhook URL may carry a key in its query. */
function withoutQuery(text: string): string {
  const url = URL.parse(text);
  if (url === null || url.search === "") return text;
  return `${url.origin}${url.pathname}?(redacted)`;
}
