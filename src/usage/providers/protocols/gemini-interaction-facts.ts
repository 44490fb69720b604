/** Collects what one interaction object says (reference/model-usage.md section 5.10; types of @google/genai 3.1.0). */

import type { JsonPath } from "../../extract/json-scan.ts";
import { bareModel } from "./gemini-request.ts";
import { INTERACTION_COUNTS } from "./gemini-usage.ts";
import { asObject, countOf, textOf, visitPaths } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

/** Members of an interaction that are facts. */
export const INTERACTION_PATHS: readonly JsonPath[] = [["id"], ["status"], ["model"], ["agent"], ["service_tier"], ["error"], ["usage"]];

/** The interaction as far as it was seen. Later objects of one stream replace earlier ones. */
export class InteractionFacts {
  id: string | null = null;
  status: string | null = null;
  serviceTier: string | null = null;
  hasError = false;
  private ownModel: string | null = null;
  private agent: string | null = null;
  private merged: JsonObject | undefined;

  /** A value at one of INTERACTION_PATHS. */
  value(path: JsonPath, value: unknown): void {
    switch (path[0]) {
      case "id":
        this.id = textOf(value) ?? this.id;
        return;
      case "status":
        this.status = textOf(value) ?? this.status;
        return;
      case "model":
        this.ownModel = bareModel(value) ?? this.ownModel;
        return;
      case "agent":
        this.agent = textOf(value) ?? this.agent;
        return;
      case "service_tier":
        this.serviceTier = textOf(value) ?? this.serviceTier;
        return;
      case "error":
        this.hasError ||= value !== null;
        return;
      default: {
        const usage = asObject(value);
        if (usage !== undefined) this.merge(usage);
      }
    }
  }

  /** An interaction out of an event. */
  document(interaction: JsonObject): void {
    visitPaths(interaction, INTERACTION_PATHS, (path, value) => this.value(path, value));
  }

  /** A snapshot of the usage so far. True when it reports output. */
  merge(usage: JsonObject): boolean {
    this.merged = mergeSnapshot(this.merged, usage);
    return (countOf(usage["total_output_tokens"]) ?? 0) > 0;
  }

  /** The model, or the agent that chose one by itself. */
  get model(): string | null {
    return this.ownModel ?? this.agent;
  }

  /** The usage reported so far; undefined: none. */
  get usage(): JsonObject | undefined {
    return hasCount(this.merged, INTERACTION_COUNTS) ? this.merged : undefined;
  }

  /** Queued and running interactions are not over; one that waits for the client (an action, the next hop) is. */
  get isOver(): boolean {
    return this.status === null || !UNFINISHED.has(this.status);
  }

  /** Its status says that it is over. */
  get isStatedOver(): boolean {
    return this.status !== null && this.isOver;
  }
}

const UNFINISHED = new Set(["queued", "in_progress"]);
