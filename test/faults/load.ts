/** Clients that call through a program until it dies or they are told to stop, and note what they saw end. */

import type { SimulatedServer } from "../../src/demo/simulated-server.ts";
import { apiClient, CALLS, THREAD_HEADER } from "../support/api-client.ts";
import type { Program } from "../support/program.ts";
import { until } from "../support/until.ts";

/** What a client was told by a response that it saw end. */
export interface Told {
  readonly thread: string;
  readonly input: number;
  readonly output: number;
  /** From the provider's last byte to the client's, at most: how long the program may have held it. */
  readonly heldMs: number;
}

/** What clients know, over all programs and rounds. */
export interface Notes {
  /** Threads of every call that was begun: each thread is one call. */
  readonly begun: Set<string>;
  readonly ended: Told[];
  /** Threads of streams that never end: open when their program is killed, and so long that their beginning is on disk. */
  readonly held: string[];
}

export interface Load {
  /** No further calls; resolves when those under way are over, one way or the other. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  /** Where the calls end up. */
  readonly providers: readonly Pick<SimulatedServer, "exchanges">[];
  /** Beginning of the threads' names. */
  readonly name: string;
  readonly clients: number;
  /** Streams that stay open. */
  readonly held: number;
}

const KINDS = Object.values(CALLS);

export function createNotes(): Notes {
  return { begun: new Set(), ended: [], held: [] };
}

/** Resolves when the streams that stay open have begun. */
export async function startLoad(program: Program, notes: Notes, options: LoadOptions): Promise<Load> {
  const api = apiClient(program);
  const isStopping = { now: false };
  const open = new Set<string>();
  const names = Array.from({ length: options.held }, (_, i) => `${options.name}-held-${i}`);
  // They break off with the program: that is what they are for.
  const holding = names.map((thread, i) => {
    notes.begun.add(thread);
    return api.call(i % 2 === 0 ? CALLS.messageStream : CALLS.chatStream, { thread, simulate: "endless", onText: () => open.add(thread) }).catch(() => undefined);
  });
  await until(() => open.size === names.length || program.exitCode !== undefined, "the streams that stay open");
  notes.held.push(...open);
  const client = async (place: number): Promise<void> => {
    for (let n = 0; !isStopping.now && program.exitCode === undefined; n++) {
      const thread = `${options.name}-${place}-${n}`;
      notes.begun.add(thread);
      // Ends are spread over time, so that a fault finds flows in every state.
      const simulate = `events=${1 + ((place * 7 + n * 3) % 12)},delay=${n % 3}`;
      const answer = await api.call(KINDS[(place + n) % KINDS.length]!, { thread, simulate }).catch(() => undefined);
      if (answer?.status === 200) notes.ended.push({ thread, input: answer.input, output: answer.output, heldMs: performance.now() - providerEnd(options.providers, thread) });
    }
  };
  const clients = Array.from({ length: options.clients }, (_, place) => client(place));
  return {
    async stop() {
      isStopping.now = true;
      await Promise.all(clients);
      await api.close();
      await Promise.all(holding);
    },
  };
}

/** When the provider had sent the answer to a thread's call; -Infinity for one that is not known, so that nothing is held against it. */
function providerEnd(providers: LoadOptions["providers"], thread: string): number {
  const exchange = providers.flatMap(({ exchanges }) => exchanges.findLast(({ rawHeaders }) => isOfThread(rawHeaders, thread)) ?? []).at(0);
  return exchange?.overAtMs ?? -Infinity;
}

function isOfThread(rawHeaders: readonly string[], thread: string): boolean {
  return rawHeaders[rawHeaders.indexOf(THREAD_HEADER) + 1] === thread;
}
