/**
 * Model names as price tables know them. A provider, a cloud or a router decorates a name (geo prefix, vendor prefix,
 * date, version suffix, variant); the bare name is what a table lists. Rules: model-usage.md section 4.3.
 * Nothing here guesses a price: a name that no table knows stays unknown.
 */

/** Release number of a model family: "claude-sonnet-4-5" is 4.5, "gpt-5.6-sol" is 5.6. */
export interface ModelVersion {
  readonly family: "claude" | "gpt";
  readonly major: number;
  readonly minor: number;
}

const BEDROCK_GEO = /^(?:us-gov|us|eu|apac|au|jp|ca|global)\./;
const BEDROCK_VENDOR = /^[a-z][a-z0-9]*\.(?=[a-z])/;
const BEDROCK_REVISION = /-v\d+(?::\d+)?$/;
const VERTEX_REVISION = /@[a-z0-9-]+$/;
const DATE_SUFFIX = /-(?:20\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|20\d{2}-\d{2}-\d{2})$/;
const CLAUDE = /claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2})(?!\d))?(?!\d)/;
const GPT = /(?:^|[./])gpt-(\d{1,2})(?:[-.](\d{1,2})(?!\d))?(?!\d)/;

/** A model that is given away keeps its own name: stripping the variant would price it as the paid one. */
const FREE_VARIANT = ":free";

/**
 * The names to look a model up by, most specific first: as sent (lower case), then with one more decoration taken
 * off each time. Never empty; no duplicates.
 */
export function modelNameCandidates(model: string): readonly string[] {
  const names = [model.trim().toLowerCase()];
  if (names[0]?.endsWith(FREE_VARIANT)) return names;
  for (const strip of STEPS) {
    const stripped = strip(names[names.length - 1] ?? "");
    if (stripped !== "" && stripped !== names[names.length - 1]) names.push(stripped);
  }
  return names;
}

/** In the order in which decorations are nested, outermost first. */
const STEPS: readonly ((name: string) => string)[] = [
  (name) => (name.startsWith("arn:") ? name.slice(name.lastIndexOf("/") + 1) : name),
  (name) => name.replace(BEDROCK_GEO, ""),
  (name) => (name.includes("/") ? name.slice(name.lastIndexOf("/") + 1) : name),
  (name) => name.replace(BEDROCK_VENDOR, ""),
  (name) => name.replace(BEDROCK_REVISION, ""),
  (name) => name.replace(/:[a-z][a-z0-9-]*$/, ""),
  (name) => name.replace(VERTEX_REVISION, ""),
  (name) => name.replace(DATE_SUFFIX, ""),
];

/** The release number in a name, or `undefined` where the name has none or is of another family. */
export function modelVersion(name: string): ModelVersion | undefined {
  const claude = CLAUDE.exec(name);
  if (claude !== null) return { family: "claude", major: Number(claude[1]), minor: Number(claude[2] ?? 0) };
  const gpt = GPT.exec(name);
  if (gpt !== null) return { family: "gpt", major: Number(gpt[1]), minor: Number(gpt[2] ?? 0) };
  return undefined;
}

/** Whether `version` is `major.minor` or a later release. */
export function isAtLeast(version: ModelVersion, major: number, minor: number): boolean {
  return version.major !== major ? version.major > major : version.minor >= minor;
}

/** Whether a name is of a vendor whose cache rules are known: they hold on every host that serves its models. */
export function modelVendor(name: string): "anthropic" | "openai" | undefined {
  if (name.includes("claude")) return "anthropic";
  return /(?:^|[./])(?:gpt-\d|chatgpt-|codex-|o[1-9](?:-|$))/.test(name) ? "openai" : undefined;
}
