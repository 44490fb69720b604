/** `tallyman dead-letters`: events that a receiver refused for good, shown, delivered again, or given up. */

import { type DurableStore, openStore, StoreError } from "../store/client.ts";
import type { DeadLetter } from "../store/store.ts";
import { type CommandContext, EXIT, UsageError } from "./context.ts";
import { openLedger } from "./ledger.ts";
import { grouped, printable, renderTable } from "./table.ts";

export interface DeadLetterChoice {
  readonly all?: boolean;
}

const MAX_LISTED = 100_000;

const COLUMNS = [
  { title: "EVENT", align: "left" },
  { title: "REFUSED", align: "left" },
  { title: "SINK", align: "left" },
  { title: "REASON", align: "left" },
] as const;

/** A table, or one JSON object a line. */
export async function listDeadLetters(context: CommandContext, options: { readonly json?: boolean }): Promise<number> {
  const found = await read(context);
  if (options.json === true) context.stdout.write(found.map((letter) => `${deadLetterJson(letter)}\n`).join(""));
  else if (found.length > 0) context.stdout.write(renderTable(COLUMNS, found.map(rowOf)));
  if (found.length === 0) context.stderr.write(`tallyman: no dead letters in ${context.settings.dataDir}.\n`);
  return EXIT.done;
}

/** Each dead letter of the events named, with its event, as JSON. */
export async function showDeadLetters(context: CommandContext, ids: readonly string[]): Promise<number> {
  const found = await read(context, ids);
  const missing = missingOf(ids, found);
  for (const letter of found) context.stdout.write(`${JSON.stringify(JSON.parse(deadLetterJson(letter)), undefined, 2)}\n`);
  return missing.length === 0 ? EXIT.done : unknown(context, missing);
}

/** The events wait for their sinks again, under their old ids. */
export function replayDeadLetters(context: CommandContext, ids: readonly string[], choice: DeadLetterChoice): Promise<number> {
  return change(context, "replay", ids, choice, (count) => `${events(count)} will be delivered again: within seconds where a proxy with these sinks runs on ${context.settings.dataDir}, else at its next start.`);
}

/** The events stay in the ledger as `dead`, and are not delivered. */
export function discardDeadLetters(context: CommandContext, ids: readonly string[], choice: DeadLetterChoice): Promise<number> {
  return change(context, "discard", ids, choice, (count) => `${events(count)} given up; the ledger keeps ${count === 1 ? "it" : "them"} as dead.`);
}

async function change(context: CommandContext, verb: "replay" | "discard", ids: readonly string[], { all }: DeadLetterChoice, told: (count: number) => string): Promise<number> {
  if (all === true && ids.length > 0) throw new UsageError(`Name the events or say --all, not both.`);
  if (all !== true && ids.length === 0) throw new UsageError(`Name the events to ${verb} by their ids, or say --all. \`tallyman dead-letters list\` shows them.`);
  const missing = missingOf(ids, await read(context, all === true ? undefined : ids));
  // All or nothing: a mistyped id must not hide among those that were found.
  if (missing.length > 0) return unknown(context, missing);
  const count = await withStore(context, (store) => {
    const chosen = all === true ? undefined : ids;
    return verb === "replay" ? store.replayDeadLetters(chosen) : store.discardDeadLetters(chosen);
  });
  context.stdout.write(count === 0 ? `There are no dead letters in ${context.settings.dataDir}.\n` : `${told(count)}\n`);
  return EXIT.done;
}

async function read(context: CommandContext, ids?: readonly string[]): Promise<readonly DeadLetter[]> {
  const ledger = openLedger(context.settings.dataDir);
  try {
    return await ledger.deadLetters({ limit: MAX_LISTED, ...(ids === undefined ? {} : { ids }) });
  } finally {
    await ledger.close();
  }
}

/** A store without sinks: what it leaves is adopted by a process that delivers. One that is not there yet holds nothing. */
async function withStore(context: CommandContext, work: (store: DurableStore) => Promise<number>): Promise<number> {
  const ledger = openLedger(context.settings.dataDir);
  const isThere = await ledger.isThere();
  await ledger.close();
  if (!isThere) return 0;
  const store = await openStore({ dataDir: context.settings.dataDir, durability: "strict", sinks: [] });
  try {
    return await work(store);
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== "database_locked") throw error;
    throw new StoreError(error.code, "The ledger is busy. Nothing more was changed; try again.", error);
  } finally {
    await store.close();
  }
}

function missingOf(ids: readonly string[], found: readonly DeadLetter[]): string[] {
  const known = new Set(found.map(({ id }) => id));
  return [...new Set(ids)].filter((id) => !known.has(id));
}

function unknown(context: CommandContext, ids: readonly string[]): number {
  const names = ids.map(printable).join(", ");
  context.stderr.write(`tallyman: no dead letter has the id ${names}; nothing was changed. \`tallyman dead-letters list\` shows those there are.\n`);
  return EXIT.failed;
}

/** The event byte for byte as it was stored. */
function deadLetterJson({ id, sink, reason, refusedAtMs, body }: DeadLetter): string {
  return `${JSON.stringify({ id, sink, reason, refused_at: new Date(refusedAtMs).toISOString() }).slice(0, -1)},"event":${body}}`;
}

function rowOf({ id, sink, reason, refusedAtMs }: DeadLetter): string[] {
  return [id, new Date(refusedAtMs).toISOString(), sink, reason];
}

function events(count: number): string {
  return count === 1 ? "1 event" : `${grouped(count)} events`;
}
