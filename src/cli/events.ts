/** `tallyman events`: the ledger's events, newest last. */

import { setTimeout as delay } from "node:timers/promises";

import type { EventQuery, StoredRecord } from "../store/store.ts";
import { type CommandContext, EXIT } from "./context.ts";
import { eventJson, eventLine } from "./event-line.ts";
import { openLedger } from "./ledger.ts";

export interface EventsOptions {
  /** Epoch ms. */
  readonly since?: number;
  /** Of the newest. */
  readonly limit: number;
  readonly follow?: boolean;
  readonly json?: boolean;
}

/** What this command needs of the ledger. */
export interface EventSource {
  events(query: EventQuery): Promise<readonly StoredRecord[]>;
}

const POLL_MS = 500;
const FOLLOW_PAGE = 500;

/** With `follow` it ends on SIGINT or SIGTERM only. */
export async function events(context: CommandContext, options: EventsOptions): Promise<number> {
  const format = options.json === true ? eventJson : eventLine;
  const write = (record: StoredRecord): void => void context.stdout.write(`${format(record)}\n`);
  const ledger = openLedger(context.settings.dataDir);
  try {
    const last = await printNewest(ledger, options, write);
    if (options.follow === true) return await untilSignal((signal) => followEvents(ledger, last ?? 0, options.since, write, signal));
    if (last === undefined) context.stderr.write(`tallyman: no events in the ledger in ${context.settings.dataDir}${options.since === undefined ? "" : " since then"}.\n`);
    return EXIT.done;
  } finally {
    await ledger.close();
  }
}

/** The position of the last record printed. */
async function printNewest(ledger: EventSource, { since, limit }: EventsOptions, write: (record: StoredRecord) => void): Promise<number | undefined> {
  const records = await ledger.events({ limit, ...(since === undefined ? {} : { sinceMs: since }) });
  for (const record of records) write(record);
  return records.at(-1)?.position;
}

/** Writes each record after a position once, in order of storing, until the signal aborts. */
export async function followEvents(
  ledger: EventSource,
  afterPosition: number,
  sinceMs: number | undefined,
  write: (record: StoredRecord) => void,
  signal: AbortSignal,
): Promise<void> {
  let position = afterPosition;
  while (!signal.aborted) {
    const records = await ledger.events({ afterPosition: position, limit: FOLLOW_PAGE, ...(sinceMs === undefined ? {} : { sinceMs }) });
    for (const record of records) {
      write(record);
      position = record.position;
    }
    if (records.length < FOLLOW_PAGE) await delay(POLL_MS, undefined, { signal }).catch(() => undefined); // only an abort rejects it
  }
}

/** Runs work that a signal ends; the exit code tells which. */
async function untilSignal(work: (signal: AbortSignal) => Promise<void>): Promise<number> {
  const controller = new AbortController();
  let code: number = EXIT.done;
  const stop = (exitCode: number) => (): void => {
    code = exitCode;
    controller.abort();
  };
  const onInterrupt = stop(EXIT.interrupted);
  const onTerminate = stop(EXIT.terminated);
  process.once("SIGINT", onInterrupt).once("SIGTERM", onTerminate);
  try {
    await work(controller.signal);
    return code;
  } finally {
    process.off("SIGINT", onInterrupt).off("SIGTERM", onTerminate);
  }
}
