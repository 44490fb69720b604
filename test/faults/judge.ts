/** What must hold when the faults are over, whatever they were. Each breach is a sentence. */

import type { ModelUsageEvent } from "../../src/usage/event-types.ts";
import { asModelEvent } from "../support/stage.ts";
import type { Notes, Told } from "./load.ts";
import type { Oracle } from "./oracle.ts";

/** Model events by thread, and the number of other events (records of gaps), as the oracle took them. */
export interface TakenEvents {
  readonly byThread: ReadonlyMap<string, readonly ModelUsageEvent[]>;
  readonly models: number;
  readonly others: number;
}

export function takenEvents(oracle: Pick<Oracle, "taken">): TakenEvents {
  const events = [...oracle.taken.values()].map((bytes): unknown => JSON.parse(bytes));
  const models = events.filter(isModelEvent).map(asModelEvent);
  return { byThread: Map.groupBy(models, ({ data }) => data.thread_id ?? ""), models: models.length, others: events.length - models.length };
}

/** No loss, nothing twice, nothing changed, nothing made up. */
export function judge(notes: Notes, oracle: Pick<Oracle, "taken" | "broken">): string[] {
  const { byThread } = takenEvents(oracle);
  return [
    ...oracle.broken,
    ...notes.ended.flatMap((told) => faultsOfEnded(told, byThread.get(told.thread) ?? [])),
    ...notes.held.flatMap((thread) => faultsOfHeld(thread, byThread.get(thread) ?? [])),
    ...[...byThread].flatMap(([thread, own]) => faultsOfThread(thread, own, notes)),
  ];
}

/**
 * Of the responses that clients saw end, those whose usage is lost. `late`: let go at the bound of the wait for the disk
 * (contract section 6, guarantee 2), and killed before the disk had them after all; `inTime` must be none.
 */
export function lost({ ended }: Notes, oracle: Pick<Oracle, "taken">): { readonly inTime: number; readonly late: number } {
  const { byThread } = takenEvents(oracle);
  const without = ended.filter((told) => !isRight(told, byThread.get(told.thread) ?? []));
  const late = without.filter(isLate).length;
  return { inTime: without.length - late, late };
}

/** The bound of the wait, less what timers are early by. */
const COMMIT_WAIT_MS = 245;

function isLate({ heldMs }: Told): boolean {
  return heldMs >= COMMIT_WAIT_MS;
}

function faultsOfEnded(told: Told, own: readonly ModelUsageEvent[]): string[] {
  if (isRight(told, own)) return [];
  const found = own.map(formOf);
  // What a crash lost behind the bound came back as unknown, or its beginning was not on disk either.
  if (isLate(told) && (found.length === 0 || (found.length === 1 && found[0] === "unknown none 0 0"))) return [];
  return [`${told.thread} ended with "${expectedOf(told)}" and has [${found.join(", ")}]`];
}

function isRight(told: Told, own: readonly ModelUsageEvent[]): boolean {
  const [event, ...more] = own;
  return event !== undefined && more.length === 0 && formOf(event) === expectedOf(told);
}

function expectedOf({ input, output }: Told): string {
  return `complete provider ${input} ${output}`;
}

function formOf({ data }: ModelUsageEvent): string {
  return `${data.completeness} ${data.usage_source} ${data.totals.input_tokens} ${data.totals.output_tokens}`;
}

function faultsOfHeld(thread: string, own: readonly ModelUsageEvent[]): string[] {
  const found = own.map(({ data }) => `${data.completeness} ${data.usage_source} ${Object.keys(data.usage).length}`);
  return found.length === 1 && found[0] === "unknown none 0" ? [] : [`${thread} was open at the kill and has [${found.join(", ")}]`];
}

function faultsOfThread(thread: string, own: readonly ModelUsageEvent[], notes: Notes): string[] {
  if (!notes.begun.has(thread)) return [`an event of a thread that no client began: ${thread}`];
  return own.length > 1 ? [`${thread} is one call and has ${own.length} events`] : [];
}

function isModelEvent(event: unknown): boolean {
  return typeof event === "object" && event !== null && "type" in event && event.type === "llm.usage.v1";
}
