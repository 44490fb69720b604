/** What the store's tests share: folders and stores that are gone after the test, and records. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { openStore } from "../../src/store/client.ts";
import type { DurableStore, StoreOptions } from "../../src/store/client.ts";

export { eventBody, intent, record } from "./records.ts";

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "tallyman-store-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A store that is closed after the test. */
export async function openTestStore(dataDir: string, options: Partial<StoreOptions> = {}): Promise<DurableStore> {
  const store = await openStore({ dataDir, durability: "strict", ...options });
  onTestFinished(() => store.close());
  return store;
}
