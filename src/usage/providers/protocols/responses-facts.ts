/**
 * Collects what one `response` object of the Responses API says (reference/model-usage.md section 5.3.1), from a scan
 * of a JSON body or from the lifecycle events of a stream.
 */

import type { ModelUsage } from "../../categories.ts";
import type { JsonPath } from "../../extract/json-scan.ts";
import { asObject, countOf, textOf, visitPaths } from "./json-values.ts";
import type { JsonObject } from "./json-values.ts";
import { mapImageUsage, mapSvgUsage } from "./openai-image-usage.ts";
import { OPENAI_COUNTS } from "./openai-usage.ts";
import { put } from "./reading.ts";
import { hasCount, mergeSnapshot } from "./snapshot.ts";

/** Members of a response object that are facts. */
export const RESPONSE_PATHS: readonly JsonPath[] = [
  ["id"],
  ["status"],
  ["model"],
  ["service_tier"],
  ["background"],
  ["error"],
  ["usage"],
  ["tool_usage"],
  ["tools", "*", "model"],
  ["output", "*", "type"],
  ["output", "*", "action", "type"],
  ["output", "*", "container_id"],
  ["output", "*", "svg_usage"],
];

/** Usage of another model inside the response: a row of its own. */
export interface SubUsage {
  readonly model: string | null;
  readonly usage: ModelUsage;
}

/** The response object as far as it was seen. Later objects of one stream replace earlier ones. */
export class ResponseFacts {
  id: string | null = null;
  status: string | null = null;
  model: string | null = null;
  serviceTier: string | null = null;
  isBackground = false;
  hasError = false;
  private merged: JsonObject | undefined;
  private toolUsage: JsonObject | undefined;
  private imageModel: string | null = null;
  private items = new OutputItems();

  /** A value at one of RESPONSE_PATHS. Other paths are ignored. */
  value(path: JsonPath, value: unknown): void {
    switch (path.join(".")) {
      case "id":
        this.id = textOf(value) ?? this.id;
        return;
      case "status":
        this.status = textOf(value) ?? this.status;
        return;
      case "model":
        this.model = textOf(value) ?? this.model;
        return;
      case "service_tier":
        this.serviceTier = textOf(value) ?? this.serviceTier;
        return;
      case "background":
        this.isBackground ||= value === true;
        return;
      case "error":
        this.hasError ||= value !== null;
        return;
      case "usage":
        return this.mergeUsage(asObject(value));
      case "tool_usage":
        this.toolUsage = asObject(value) ?? this.toolUsage;
        return;
      case "tools.*.model":
        this.imageModel = textOf(value) ?? this.imageModel;
        return;
      default:
        this.items.value(path, value);
    }
  }

  /** A whole response object out of a lifecycle event. */
  document(response: JsonObject): void {
    this.items = new OutputItems();
    visitPaths(response, RESPONSE_PATHS, (path, value) => this.value(path, value));
  }

  /** The usage reported so far, merged; undefined: none. */
  get usage(): JsonObject | undefined {
    return hasCount(this.merged, OPENAI_COUNTS) ? this.merged : undefined;
  }

  /** Queued and running responses are not over; a status that is absent (compact, decisions) is. */
  get isOver(): boolean {
    return this.status === null || !UNFINISHED.has(this.status);
  }

  /** Charges beside the tokens. `tool_usage` counts billable searches; without it the output items are counted. */
  units(): ModelUsage {
    const units: ModelUsage = {};
    const searches = asObject(this.toolUsage?.["web_search"])?.["num_requests"];
    const isCounted = this.toolUsage !== undefined;
    put(units, "web_search_requests", isCounted ? countOf(searches) : positive(this.items.webSearches));
    put(units, "images_out", isCounted ? undefined : positive(this.items.images));
    put(units, "file_search_calls", positive(this.items.fileSearches));
    put(units, "code_execution_sessions", positive(this.items.codeSessions));
    return units;
  }

  /** The image tool's tokens and those of vector drawings, each on its own model (section 5.3.1). */
  subUsages(requestImageModel: string | null): readonly SubUsage[] {
    const image = asObject(this.toolUsage?.["image_gen"]);
    const subs: SubUsage[] = [];
    if (image !== undefined) subs.push({ model: this.imageModel ?? requestImageModel, usage: mapImageUsage(image) });
    for (const svg of this.items.svgUsages) subs.push({ model: textOf(svg["model"]) ?? null, usage: mapSvgUsage(svg) });
    return subs.filter(({ usage }) => Object.values(usage).some((count) => count > 0));
  }

  private mergeUsage(usage: JsonObject | undefined): void {
    if (usage !== undefined) this.merged = mergeSnapshot(this.merged, usage);
  }
}

const UNFINISHED = new Set(["queued", "in_progress"]);

/** What the output items of one response object tell. */
class OutputItems {
  webSearches = 0;
  images = 0;
  fileSearches = 0;
  readonly svgUsages: JsonObject[] = [];
  private codeCalls = 0;
  private readonly containers = new Set<string>();

  /** One session per container; calls that name none share one. */
  get codeSessions(): number {
    return this.containers.size > 0 ? this.containers.size : Math.min(1, this.codeCalls);
  }

  value(path: JsonPath, value: unknown): void {
    switch (path.join(".")) {
      case "output.*.type":
        if (value === "file_search_call") this.fileSearches++;
        else if (value === "image_generation_call") this.images++;
        else if (value === "code_interpreter_call") this.codeCalls++;
        return;
      case "output.*.action.type":
        // Only a web_search_call has this action; opening a page and finding in it are free.
        if (value === "search") this.webSearches++;
        return;
      case "output.*.container_id":
        if (typeof value === "string") this.containers.add(value);
        return;
      case "output.*.svg_usage": {
        const usage = asObject(value);
        if (usage !== undefined) this.svgUsages.push(usage);
      }
    }
  }
}

function positive(count: number): number | undefined {
  return count > 0 ? count : undefined;
}
