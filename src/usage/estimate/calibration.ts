/**
 * How far the heuristics are off for each model, learnt from responses that reported their usage: a factor for the
 * prompt and one for the answer. Tokenizers differ by a third for the same text (reference/model-usage.md section
 * 7.3); the factor takes that out without a vocabulary. Depends on nothing but what it was told, in that order. Kept in
 * memory only: after a start it begins anew.
 */

export type Side = "input" | "output";

export interface Calibration {
  /** Whether an observation of this side is worth its cost: the first FIRST_SAMPLES of a model are, then every SAMPLED_EVERYth. Counts as asked. */
  isWanted(model: string, side: Side): boolean;
  /** A response of the model: the heuristic's tokens of its text, and those that the provider reported for the same. */
  observe(model: string, side: Side, tokens: { readonly heuristic: number; readonly reported: number }): void;
  /** What the heuristic's tokens are to be multiplied with, between MIN_RATIO and MAX_RATIO; undefined: nothing was observed. */
  factor(model: string, side: Side): number | undefined;
  /** Models in the table. */
  readonly size: number;
}

/** The bound of the table. The model that was not asked for or observed for the longest goes. */
export const MAX_MODELS = 512;

/** Names come from outside. A longer one is not kept. */
const MAX_NAME_CHARS = 200;

/** Of a short text the tokens around it (roles, names of tools) are a large part. */
const MIN_TOKENS = 16;

/** Beyond these it is no tokenizer that differs: images, a context that the provider keeps, reasoning that is not shown. */
const MIN_RATIO = 0.25;
const MAX_RATIO = 4;

/** An observation weighs this at least: the mean forgets with a half-life of eleven. */
const MIN_WEIGHT = 1 / 16;

const FIRST_SAMPLES = 16;
const SAMPLED_EVERY = 64;

interface Mean {
  value: number;
  /** Observations so far, with one of 1 that it begins with: a single odd response moves it half-way only. */
  count: number;
  asked: number;
}

const NOTHING_OBSERVED = 1;

type Entry = Record<Side, Mean>;

export function createCalibration(): Calibration {
  /** In order of use, the oldest first. */
  const entries = new Map<string, Entry>();

  const entryOf = (model: string): Entry => {
    const entry = entries.get(model) ?? { input: newMean(), output: newMean() };
    entries.delete(model);
    entries.set(model, entry);
    if (entries.size > MAX_MODELS) entries.delete(entries.keys().next().value ?? model);
    return entry;
  };

  return {
    isWanted(model, side) {
      if (model.length > MAX_NAME_CHARS) return false;
      const asked = entryOf(model)[side].asked++;
      return asked < FIRST_SAMPLES || asked % SAMPLED_EVERY === 0;
    },
    observe(model, side, { heuristic, reported }) {
      const ratio = reported / heuristic;
      if (model.length > MAX_NAME_CHARS || heuristic < MIN_TOKENS || !(ratio >= MIN_RATIO && ratio <= MAX_RATIO)) return;
      const mean = entryOf(model)[side];
      mean.count += 1;
      mean.value += (ratio - mean.value) * Math.max(MIN_WEIGHT, 1 / mean.count);
    },
    factor(model, side) {
      const mean = entries.get(model)?.[side];
      return mean === undefined || mean.count === NOTHING_OBSERVED ? undefined : mean.value;
    },
    get size() {
      return entries.size;
    },
  };
}

function newMean(): Mean {
  return { value: 1, count: NOTHING_OBSERVED, asked: 0 };
}
