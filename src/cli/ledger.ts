/** The ledger as commands read it: one that is not there yet is empty. */

import { type LedgerReader, StoreError, openLedgerReader } from "../store/client.ts";

export interface Ledger extends Pick<LedgerReader, "events" | "usage" | "deadLetters" | "close"> {
  isThere(): Promise<boolean>;
}

/** Opens the ledger at the first question that finds it there. Rejects with StoreError when it is there and cannot be read. */
export function openLedger(dataDir: string): Ledger {
  let reader: LedgerReader | undefined;
  const open = async (): Promise<LedgerReader | undefined> => (reader ??= await openIfThere(dataDir));
  return {
    events: async (query) => (await open())?.events(query) ?? [],
    usage: async (query) => (await open())?.usage(query) ?? [],
    deadLetters: async (query) => (await open())?.deadLetters(query) ?? [],
    isThere: async () => (await open()) !== undefined,
    close: async () => {
      await reader?.close();
    },
  };
}

async function openIfThere(dataDir: string): Promise<LedgerReader | undefined> {
  try {
    return await openLedgerReader(dataDir);
  } catch (error) {
    if (error instanceof StoreError && error.code === "ledger_missing") return undefined;
    throw error;
  }
}
