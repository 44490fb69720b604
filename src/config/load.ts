/** Environment → Settings, or every fault at once. Reads the files that settings name; writes nothing. */

import { resolve } from "node:path";

import { type Fault, crossFaults, crossWarnings } from "./cross-checks.ts";
import { nearest } from "./nearest.ts";
import { type LoadContext, standardDirectory } from "./paths.ts";
import { readText } from "./scalar-values.ts";
import { type NamedSetting, SETTING_ROWS, type Settings } from "./settings.ts";

export type { Fault } from "./cross-checks.ts";
export type { LoadContext } from "./paths.ts";

/** Where a value came from; "file" is the `_FILE` form. */
export type Origin = "default" | "environment" | "file";

export type LoadResult =
  | {
      readonly ok: true;
      readonly settings: Settings;
      /** By variable name. */
      readonly origins: Readonly<Record<string, Origin>>;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly faults: readonly Fault[]; /** A misspelt name may be the cause of a fault. */ readonly warnings: readonly string[] };

const PREFIX = "TALLYMAN_";
const REDACTED = "(redacted)";
const MAX_SHOWN = 200;

/** How keys of providers begin: one may stand where its fingerprint belongs. */
const PROVIDER_KEY = /\b(?:sk-|gsk_|xai-|AIza|AKIA|ABSK)[\w-]{8,}/g;

/** Reads every setting. An empty variable counts as not set. The same input gives the same result, but for the files it names. */
export function loadSettings(env: NodeJS.ProcessEnv, context: LoadContext): LoadResult {
  const faults: Fault[] = [];
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  for (const row of SETTING_ROWS) {
    const found = readRow(row, env, context);
    if ("fault" in found) faults.push(found.fault);
    else {
      values[row.name] = found.value;
      origins[row.variable] = found.origin;
    }
  }
  // Each value was read by the row of its name, so the names that are there have their types.
  const read = values as Partial<Settings>;
  faults.push(...crossFaults(read));
  const warnings = unknownVariables(env);
  if (!isComplete(read) || faults.length > 0) return { ok: false, faults, warnings };
  return { ok: true, settings: read, origins, warnings: [...warnings, ...crossWarnings(read)] };
}

/** One message for a person: each fault with its name, its value and what is allowed. Ends with a line break. */
export function formatFaults(faults: readonly Fault[]): string {
  const count = faults.length === 1 ? "1 setting is wrong" : `${faults.length} settings are wrong`;
  const lines = faults.map(({ name, value, allowed }) => `  ${name} ${value === undefined ? "is not set" : `is ${value}`}; allowed: ${allowed}`);
  return `tallyman: ${count}.\n${lines.join("\n")}\nEvery setting is explained in docs/configuration.md.\n`;
}

type Found = { readonly value: unknown; readonly origin: Origin } | { readonly fault: Fault };

function readRow(row: NamedSetting, env: NodeJS.ProcessEnv, context: LoadContext): Found {
  const text = env[row.variable]?.trim() ?? "";
  const file = row.hasFileForm ? (env[`${row.variable}_FILE`]?.trim() ?? "") : "";
  if (file !== "") return readFromFile(row, file, text !== "", context);
  if (text === "") return { value: defaultValue(row, env, context), origin: "default" };
  const parsed = row.kind.parse(text, context);
  if (parsed.isValid) return { value: parsed.value, origin: "environment" };
  return { fault: { name: row.variable, value: row.isSecret ? REDACTED : shown(text), allowed: parsed.problem ?? row.kind.allowed } };
}

function readFromFile(row: NamedSetting, file: string, isAlsoGiven: boolean, context: LoadContext): Found {
  const fault = (allowed: string): Found => ({ fault: { name: `${row.variable}_FILE`, value: shown(file), allowed } });
  if (isAlsoGiven) return fault(`this or ${row.variable}, not both`);
  const content = readText(resolve(context.cwd, file));
  if ("failure" in content) return fault(`the path of a file that holds ${row.kind.allowed}; the file cannot be read: ${content.failure}`);
  const text = content.text.trim();
  if (text === "") return fault(`the path of a file that holds ${row.kind.allowed}; the file is empty`);
  const parsed = row.kind.parse(text, context);
  return parsed.isValid ? { value: parsed.value, origin: "file" } : fault(`a file that holds ${parsed.problem ?? row.kind.allowed}`);
}

function defaultValue(row: NamedSetting, env: NodeJS.ProcessEnv, context: LoadContext): unknown {
  if (row.default.kind === "none") return row.default.value;
  if (row.default.kind === "directory") return standardDirectory(row.default.text, env, context);
  const parsed = row.kind.parse(row.default.text, context);
  if (!parsed.isValid) throw new Error(`the default of ${row.variable} is not allowed by its own row`);
  return parsed.value;
}

function isComplete(read: Partial<Settings>): read is Settings {
  return SETTING_ROWS.every((row) => row.name in read);
}

/** Long values are cut; control characters are escaped, so that a value cannot write on the terminal. What may be a credential in a URL, or a key, is left out. */
function shown(text: string): string {
  const open = text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s]*@/gi, `$1${REDACTED}@`).replace(/^([a-z][a-z0-9+.-]*:\/\/[^?]*\?).+$/is, `$1${REDACTED}`).replace(PROVIDER_KEY, REDACTED);
  const cut = open.length > MAX_SHOWN ? `${open.slice(0, MAX_SHOWN)}…` : open;
  const plain = cut.replace(/\p{Cc}/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return plain.includes('"') ? `'${plain}'` : `"${plain}"`;
}

function unknownVariables(env: NodeJS.ProcessEnv): string[] {
  const known = SETTING_ROWS.flatMap((row) => (row.hasFileForm ? [row.variable, `${row.variable}_FILE`] : [row.variable]));
  const unknown = Object.keys(env).filter((name) => name.startsWith(PREFIX) && !known.includes(name));
  return unknown.toSorted().map((name) => `${shown(name).slice(1, -1)} is not a setting and is ignored; the nearest is ${nearest(name, known)}.`);
}
