/** What to tell someone whose command line was wrong: commander's message, the nearest right name, and where help is. */

import type { Command } from "commander";

import { nearest } from "../config/nearest.ts";
import { SETTING_ROWS } from "../config/settings.ts";

/** `message` is commander's ("error: unknown option '--jsn'"), its own suggestion included, which is replaced by ours. */
export function explainError(message: string, command: Command): string {
  const first = message.replace(/^error: /, "").split("\n")[0] ?? "";
  const hint = unknownHint(first, command);
  const name = fullName(command);
  return `tallyman: ${first}${hint === undefined ? "" : `\n${hint}`}\nRun \`${name} --help\` to see what it takes.\n`;
}

function unknownHint(message: string, command: Command): string | undefined {
  const option = /^unknown option '(-[^'=]*)/.exec(message)?.[1];
  if (option !== undefined) return settingHint(option) ?? nearestHint(option, optionNames(command));
  const name = /^unknown command '([^']*)'/.exec(message)?.[1];
  return name === undefined ? undefined : nearestHint(name, command.commands.map((candidate) => candidate.name()));
}

/** Those who look for `--port` want TALLYMAN_PORT. */
function settingHint(option: string): string | undefined {
  const variable = `TALLYMAN_${option.replace(/^-+/, "").replaceAll("-", "_").toUpperCase()}`;
  const isSetting = SETTING_ROWS.some((row) => row.variable === variable);
  return isSetting ? `Settings are environment variables: set ${variable}.` : undefined;
}

function nearestHint(word: string, candidates: readonly string[]): string | undefined {
  const best = nearest(word, candidates);
  return best === undefined ? undefined : `The nearest is ${best}.`;
}

function optionNames(command: Command): string[] {
  return [...command.createHelp().visibleOptions(command)].flatMap((option) => option.long ?? []);
}

function fullName(command: Command): string {
  const names: string[] = [];
  for (let current: Command | null = command; current !== null; current = current.parent) names.unshift(current.name());
  return names.join(" ");
}
