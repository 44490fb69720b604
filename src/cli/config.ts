/** `tallyman config`: the effective settings, where each came from, secrets redacted. */

import { SETTING_ROWS } from "../config/settings.ts";
import { showSetting } from "../config/show.ts";
import { type CommandContext, EXIT } from "./context.ts";
import { type Column, renderTable } from "./table.ts";

const COLUMNS: readonly Column[] = [
  { title: "setting", align: "left" },
  { title: "from", align: "left" },
  { title: "value", align: "left" },
];

/**
 * With `json` an object `{settings: {TALLYMAN_…: {value, origin}}, warnings}`: values as they would be written in the
 * environment, null where nothing is set, "set (redacted)" for secrets; origin "default", "environment" or "file".
 */
export function config(context: CommandContext, options: { readonly json?: boolean }): number {
  const entries = SETTING_ROWS.map((row) => ({
    variable: row.variable,
    value: showSetting(row, context.settings) ?? null,
    origin: context.origins[row.variable] ?? "default",
  }));
  if (options.json === true) {
    const settings = Object.fromEntries(entries.map(({ variable, value, origin }) => [variable, { value, origin }]));
    context.stdout.write(`${JSON.stringify({ settings, warnings: context.warnings }, null, 2)}\n`);
  } else {
    context.stdout.write(renderTable(COLUMNS, entries.map(({ variable, value, origin }) => [variable, origin, value ?? "-"])));
  }
  return EXIT.done;
}
