/** The options of the library → Settings. As load.ts does for the environment: every fault at once. */

import { crossFaults, type Fault } from "./cross-checks.ts";
import { loadSettings, type LoadContext } from "./load.ts";
import { type NamedSetting, SETTING_ROWS, type SettingName, type Settings } from "./settings.ts";

/** The name of a setting without its unit, and `webhookSecret` for one. */
type TextName<Name extends string> = Name extends `${infer Base}Ms` ? Base : Name extends "webhookSecrets" ? "webhookSecret" : never;

type OptionValue<T> = T | string | (T extends readonly unknown[] ? readonly string[] : never) | undefined;

/**
 * Each setting by its name in `Settings`: its value, or the text that its variable would hold ("72h" for `leafTtlMs`); a list may be one
 * of such texts. Durations have a name without their unit besides (`leafTtl`), where only the text is taken.
 */
export type SettingOptions = { readonly [Name in SettingName]?: OptionValue<Settings[Name]> } & {
  readonly [Name in SettingName as TextName<Name>]?: string | undefined;
};

export type OptionsResult = { readonly ok: true; readonly settings: Settings } | { readonly ok: false; readonly faults: readonly Fault[] };

/** What is not given, undefined or empty has its default. Texts are checked as the environment's are; other values are taken as they are. */
export function readOptions(options: Readonly<Record<string, unknown>>, context: LoadContext): OptionsResult {
  const defaults = loadSettings({}, context);
  if (!defaults.ok) return defaults;
  const faults: Fault[] = [];
  const given: Record<string, unknown> = {};
  for (const row of SETTING_ROWS) {
    const value = options[row.name] ?? options[textName(row.variable)];
    if (value === undefined || value === "" || typeof value === "function") continue;
    const text = textOf(row, value);
    const parsed = text === undefined ? undefined : row.kind.parse(text.trim(), context);
    if (parsed === undefined) given[row.name] = value;
    else if (parsed.isValid) given[row.name] = parsed.value;
    else faults.push({ name: row.variable, value: row.isSecret ? "(redacted)" : JSON.stringify(value), allowed: parsed.problem ?? row.kind.allowed });
  }
  const settings: Settings = { ...defaults.settings, ...given };
  const all = [...faults, ...crossFaults(settings)];
  return all.length > 0 ? { ok: false, faults: all } : { ok: true, settings };
}

/** Undefined for a value that is taken as it is. A secret of a list may hold a comma. */
function textOf(row: NamedSetting, value: unknown): string | undefined {
  if (typeof value === "string") return value;
  const isTexts = Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string");
  return isTexts && !row.isSecret ? value.join(",") : undefined;
}

/** TALLYMAN_LEAF_TTL → leafTtl. */
function textName(variable: string): string {
  const words = variable.replace(/^TALLYMAN_/, "").toLowerCase();
  return words.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
