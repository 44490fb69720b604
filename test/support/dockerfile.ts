/** Reads Dockerfiles as far as ours goes: stages, continued lines, exec forms, ENV and COPY. No variables, no heredocs. */

export interface Instruction {
  /** Upper case. */
  readonly name: string;
  /** The rest of the line, continuations joined. */
  readonly text: string;
}

export interface Stage {
  /** The image or stage it begins from. */
  readonly from: string;
  readonly name: string | undefined;
  readonly instructions: readonly Instruction[];
}

export interface Copy {
  /** The stage it copies from; undefined for the build context. */
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

/** Throws a SyntaxError for an instruction before the first FROM. */
export function parseDockerfile(text: string): Stage[] {
  const stages: { from: string; name: string | undefined; instructions: Instruction[] }[] = [];
  const lines = text.split("\n").filter((line) => !/^\s*#/.test(line));
  for (const line of lines.join("\n").replaceAll(/\s*\\\n\s*/g, " ").split("\n")) {
    const match = /^\s*(\w+)\s+(.+)$/.exec(line);
    if (match === null) continue;
    const name = (match[1] ?? "").toUpperCase();
    const rest = (match[2] ?? "").trim();
    if (name === "FROM") {
      const [from = "", , stage] = rest.split(/\s+/);
      stages.push({ from, name: stage, instructions: [] });
    } else {
      const stage = stages.at(-1);
      if (stage === undefined) throw new SyntaxError(`${name} before FROM`);
      stage.instructions.push({ name, text: rest });
    }
  }
  return stages;
}

/** The texts of every instruction of this name, in order. */
export function textsOf(stage: Stage, name: string): string[] {
  return stage.instructions.filter((instruction) => instruction.name === name).map(({ text }) => text);
}

/** The arguments of an exec form, `["node", "x"]`; throws for a shell form, through which no signal passes. */
export function execForm(text: string): string[] {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value) || !value.every((part) => typeof part === "string")) throw new SyntaxError(`no exec form: ${text}`);
  return value;
}

/** The variables that a stage's ENV instructions set. */
export function environmentOf(stage: Stage): Record<string, string> {
  const pairs = textsOf(stage, "ENV").flatMap((text) => text.split(/\s+/));
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
}

export function parseCopy(text: string): Copy {
  const words = text.split(/\s+/);
  const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
  const paths = words.filter((word) => !word.startsWith("--"));
  return { from, sources: paths.slice(0, -1), target: paths.at(-1) ?? "" };
}
