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

/** Of the responses that clients saw end, those without any event. */
export function lost(notes: Notes, oracle: Pick<Oracle, "taken">): number {
  const { byThread } = takenEvents(oracle);
  return notes.ended.filter(({ thread }) => !byThread.has(thread)).length;
}

function faultsOfEnded({ thread, input, output }: Told, own: readonly ModelUsageEvent[]): string[] {
  const expected = `complete provider ${input} ${output}`;
  const found = own.map(({ data }) => `${data.completeness} ${data.usage_source} ${data.totals.input_tokens} ${data.totals.output_tokens}`);
  return found.length === 1 && found[0] === expected ? [] : [`${thread} ended with "${expected}" and has [${found.join(", ")}]`];
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
