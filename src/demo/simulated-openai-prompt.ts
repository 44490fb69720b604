/** What both halves of the simulated OpenAI API share: how a prompt is counted and cached. */

import { countTokens } from "./simulated-tokens.ts";

/** Fixed, so that answers repeat: 2026-09-21T13:46:40Z. */
export const CREATED_S = 1_790_000_000;

/** One text of a prompt, and whether the provider caches it. */
export interface PromptText {
  readonly text: string;
  readonly isCached: boolean;
}

/** The prompt as OpenAI counts it: an inclusive total and the cached parts of it. */
export interface PromptCount {
  readonly total: number;
  readonly cached: number;
  readonly written: number;
}

/** Counts prompts; remembers what was cached for which model. */
export type PromptCounter = (model: string, texts: readonly PromptText[]) => PromptCount;

export function createPromptCounter(): PromptCounter {
  const seen = new Set<string>();
  return (model, texts) => {
    let total = 0;
    let cached = 0;
    let written = 0;
    for (const { text, isCached } of texts) {
      const tokens = countTokens(text);
      total += tokens;
      if (!isCached) continue;
      const key = `${model}\n${text}`;
      if (seen.has(key)) cached += tokens;
      else written += tokens;
      seen.add(key);
    }
    return { total, cached, written };
  };
}

/** A text as it is; anything else counts as its JSON. */
export function contentText(content: unknown): string {
  if (typeof content === "string") return content;
  return content === undefined || content === null ? "" : JSON.stringify(content);
}
