/** The handlers of the program: the embedder's, those of the operator's file, then our own. */

import { readFile } from "node:fs/promises";

import type { Settings } from "../config/settings.ts";
import { createHandlers, loadConnectors, type Handler } from "../usage/index.ts";
import { handlerOptions } from "./hosts.ts";
import { StartError } from "./start-error.ts";

/** In the order in which they are asked: of two with one host the first counts. Rejects with StartError when TALLYMAN_CONNECTORS_FILE has a fault. */
export async function loadHandlers(settings: Settings, embedded: readonly Handler[] = []): Promise<readonly Handler[]> {
  const { connectorsFile } = settings;
  const loaded = connectorsFile === undefined ? [] : await loadFile(connectorsFile);
  return [...embedded, ...loaded, ...createHandlers(handlerOptions(settings))];
}

async function loadFile(path: string): Promise<readonly Handler[]> {
  try {
    const json: unknown = JSON.parse(await readFile(path, "utf8"));
    return loadConnectors(json);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError("connectors_invalid", `TALLYMAN_CONNECTORS_FILE (${path}) is not valid:\n${reason}`, { cause: error, isWrongSetting: true });
  }
}
