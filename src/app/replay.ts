/** The meters without a proxy: the events of recorded exchanges, with the settings that a running program would have. */

import type { Logger } from "pino";

import type { Settings } from "../config/settings.ts";
import { createEstimator, createEventBuilder, createTokenizer, replayEvents, type UsageEvent } from "../usage/index.ts";
import { loadHandlers } from "./handlers.ts";
import { hostTable, recognition } from "./hosts.ts";
import { attributed, priceConnectorReading, priceReading } from "./metering.ts";
import { loadPrices } from "./prices.ts";

export interface Replayer {
  /** Rejects with RecordError. */
  replay(record: string): Promise<readonly UsageEvent[]>;
  close(): Promise<void>;
}

export interface ReplayerOptions {
  readonly settings: Settings;
  readonly logger: Pick<Logger, "error" | "debug">;
  readonly now: () => number;
}

/** Rejects with StartError for settings that only this can judge. */
export async function createReplayer({ settings, logger, now }: ReplayerOptions): Promise<Replayer> {
  const handlers = await loadHandlers(settings);
  const hosts = hostTable(handlers, settings);
  const prices = await loadPrices({ settings, logger });
  const tokenizer = createTokenizer();
  return {
    replay: (record) =>
      replayEvents(record, {
        handlers,
        hosts,
        recognize: recognition(handlers, { ...settings, intercept: "all" }),
        events: createEventBuilder({
          deploymentId: "replay",
          hasCanonicalTokens: settings.canonicalTokens,
          price: (facts, reading, usage) => priceReading(prices, facts, reading, usage),
          priceConnector: (facts, reading) => priceConnectorReading(prices, facts, reading),
        }),
        estimator: createEstimator({ tokenizer, isEstimateAllowed: settings.estimate, hasCanonicalTokens: settings.canonicalTokens, logger }),
        isEstimateAllowed: settings.estimate,
        attribute: attributed(settings),
        isBillable: () => true,
        logger,
        now,
      }),
    close: () => tokenizer.close(),
  };
}
