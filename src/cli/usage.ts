/** `tallyman usage`: totals from the ledger. */

import type { UsageDimension, UsageQuery } from "../store/store.ts";
import { type CommandContext, EXIT } from "./context.ts";
import { openLedger } from "./ledger.ts";
import { type UsageReport, totalRow, usageCsv, usageNotes, usageTable } from "./usage-table.ts";

export interface UsageOptions {
  readonly by: UsageDimension;
  /** Epoch ms. */
  readonly since?: number;
  readonly until?: number;
  readonly json?: boolean;
  readonly csv?: boolean;
}

export async function usage(context: CommandContext, options: UsageOptions): Promise<number> {
  const { by } = options;
  const ledger = openLedger(context.settings.dataDir);
  try {
    const rows = await ledger.usage(query(options));
    const total = totalRow(rows);
    if (rows.length === 0) context.stderr.write(`tallyman: ${emptyNote(context, options)}\n`);
    if (options.json === true) {
      const report: UsageReport = { since: isoOrNull(options.since), until: isoOrNull(options.until), by, rows, total };
      context.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    } else if (options.csv === true) {
      context.stdout.write(usageCsv(rows, by));
    } else {
      context.stdout.write(usageTable(rows, by));
      for (const note of usageNotes(total)) context.stderr.write(`tallyman: ${note}\n`);
    }
    return EXIT.done;
  } finally {
    await ledger.close();
  }
}

function query({ by, since, until }: UsageOptions): UsageQuery {
  return { by, ...(since === undefined ? {} : { sinceMs: since }), ...(until === undefined ? {} : { untilMs: until }) };
}

function emptyNote(context: CommandContext, { since, until }: UsageOptions): string {
  const where = `in the ledger in ${context.settings.dataDir}`;
  if (since !== undefined || until !== undefined) return `no usage ${where} in this time. Try without --since and --until.`;
  return `no usage yet ${where}. Try \`tallyman run -- CMD\` or \`tallyman demo\`.`;
}

function isoOrNull(timeMs: number | undefined): string | null {
  return timeMs === undefined ? null : new Date(timeMs).toISOString();
}
