/**
 * How a simulated provider misbehaves, as the client asks for it: in an `x-simulate` request header, or after a `#` in
 * the model name ("claude-sonnet-4-5#events=20,delay=5") where a client cannot set headers. The header wins.
 *
 * Directives, separated by commas, semicolons or blanks:
 *
 * | directive | does |
 * | --- | --- |
 * | `events=N` | N text deltas (default 5) |
 * | `delay=MS` | milliseconds before each event of a stream, or before a whole answer |
 * | `cut=N` | destroys the socket after N events of a stream, or N bytes of a whole answer |
 * | `error=N` | an error of the provider's own form inside the stream, after N events |
 * | `usage=none` | no usage in the answer |
 * | `encoding=gzip\|br\|zstd\|deflate` | content coding, flushed after each event of a stream |
 * | `bytes=N` | at least N characters of answer text |
 * | `status=CODE` | an error answer of the provider's own form |
 * | `tier=NAME` | the service tier that the answer states |
 * | `polls=N` | polls of a background response before it is finished (default 1) |
 * | `endless` | a stream that never ends |
 */

export const CONTENT_CODINGS = ["gzip", "br", "zstd", "deflate"] as const;
export type ContentCoding = (typeof CONTENT_CODINGS)[number];

export interface Behaviour {
  readonly events: number;
  readonly delayMs: number;
  readonly cutAfter: number | undefined;
  readonly errorAfter: number | undefined;
  readonly hasUsage: boolean;
  readonly coding: ContentCoding | undefined;
  readonly textBytes: number;
  readonly status: number | undefined;
  readonly tier: string | undefined;
  readonly polls: number;
  readonly isEndless: boolean;
}

const DEFAULTS: Behaviour = {
  events: 5,
  delayMs: 0,
  cutAfter: undefined,
  errorAfter: undefined,
  hasUsage: true,
  coding: undefined,
  textBytes: 0,
  status: undefined,
  tier: undefined,
  polls: 1,
  isEndless: false,
};

/** An endless stream without a delay of its own must not spin. */
const ENDLESS_DELAY_MS = 20;
const MAX_NUMBER = 1_000_000_000;

/** A directive that is misspelt must fail the test that uses it, not pass as the default. */
export class BehaviourError extends Error {}

/** Splits "name#directives" as a client sends it in the `model` field. */
export function splitModel(model: string): { readonly model: string; readonly directives: string } {
  const at = model.indexOf("#");
  return at === -1 ? { model, directives: "" } : { model: model.slice(0, at), directives: model.slice(at + 1) };
}

/** Reads directives. Throws BehaviourError for one that is unknown or out of range. */
export function parseBehaviour(directives: string): Behaviour {
  const behaviour: { -readonly [Name in keyof Behaviour]: Behaviour[Name] } = { ...DEFAULTS };
  for (const directive of directives.split(/[,;\s]+/)) {
    if (directive !== "") Object.assign(behaviour, readDirective(directive));
  }
  if (behaviour.isEndless && behaviour.delayMs === 0) return { ...behaviour, delayMs: ENDLESS_DELAY_MS };
  return behaviour;
}

function readDirective(directive: string): Partial<Behaviour> {
  const [name = "", value = ""] = directive.split("=", 2);
  switch (name) {
    case "events":
      return { events: readNumber(directive, value) };
    case "delay":
      return { delayMs: readNumber(directive, value) };
    case "cut":
      return { cutAfter: readNumber(directive, value) };
    case "error":
      return { errorAfter: readNumber(directive, value) };
    case "bytes":
      return { textBytes: readNumber(directive, value) };
    case "status":
      return { status: readNumber(directive, value) };
    case "polls":
      return { polls: readNumber(directive, value) };
    case "tier":
      return { tier: value };
    case "usage":
      if (value === "none") return { hasUsage: false };
      break;
    case "encoding": {
      const coding = CONTENT_CODINGS.find((known) => known === value);
      if (coding !== undefined) return { coding };
      break;
    }
    case "endless":
      if (value === "") return { isEndless: true };
      break;
  }
  throw new BehaviourError(`no such simulation: ${directive}`);
}

function readNumber(directive: string, value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number > MAX_NUMBER) throw new BehaviourError(`not a number: ${directive}`);
  return number;
}
