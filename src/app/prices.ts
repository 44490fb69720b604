/** The price book of the program: its overrides out of the file that the settings name, or the embedder's. */

import { readFile } from "node:fs/promises";

import { errorCode } from "../proxy/proxy-error.ts";
import { createPriceBook, type PriceBook } from "../usage/index.ts";
import type { AppOptions } from "./parts.ts";
import { StartError } from "./start-error.ts";

/** Rejects with StartError when the overrides cannot be read or are not valid. */
export async function loadPrices(options: Pick<AppOptions, "settings" | "prices"> & { readonly logger: Pick<AppOptions["logger"], "error"> }): Promise<PriceBook> {
  const { pricesFile } = options.settings;
  const onFault = (error: unknown): void => options.logger.error({ code: errorCode(error) }, "prices cannot be looked up; events are unpriced");
  const where = pricesFile === undefined ? "the option prices" : `TALLYMAN_PRICES_FILE (${pricesFile})`;
  try {
    const overridesJson: unknown = pricesFile === undefined ? options.prices : JSON.parse(await readFile(pricesFile, "utf8"));
    return createPriceBook({ overridesJson, connectorProfile: options.settings.connectorPrices, onFault });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError("prices_invalid", `${where} is not valid: ${reason}`, { cause: error, isWrongSetting: true });
  }
}
