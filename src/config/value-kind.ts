/** The shape that every kind of settings value has: how its text is read, what is allowed, and how it is written again. */

/** What a parser may look at besides the text. */
export interface ValueContext {
  /** Absolute. Relative paths given by the user start here. */
  readonly cwd: string;
}

/** `problem` replaces the kind's own `allowed` text where more is known ("item 2: …"). It never quotes a secret. */
export type Parsed<T> = { readonly isValid: true; readonly value: T } | { readonly isValid: false; readonly problem?: string };

export interface ValueKind<T> {
  /** What is allowed, as it stands in faults and in the docs: "a port from 0 to 65535". */
  readonly allowed: string;
  /** Reads trimmed, non-empty text. Never throws. */
  parse(text: string, context: ValueContext): Parsed<T>;
  /** The text that `parse` reads back as the same value. */
  format(value: T): string;
}

export function valid<T>(value: T): Parsed<T> {
  return { isValid: true, value };
}

export function invalid<T>(problem?: string): Parsed<T> {
  return problem === undefined ? { isValid: false } : { isValid: false, problem };
}

/** A kind whose parser gives undefined for text that is not allowed. */
export function kindOf<T>(allowed: string, parse: (text: string) => T | undefined, format: (value: T) => string): ValueKind<T> {
  return {
    allowed,
    parse: (text) => {
      const value = parse(text);
      return value === undefined ? invalid() : valid(value);
    },
    format,
  };
}

/**
 * A list of one kind, separated by commas or line breaks (a secret's file may have a line for each). Empty items are
 * skipped; a list of nothing but separators is not allowed. `secretItems` keeps the items out of the problem text.
 */
export function listOf<T>(item: ValueKind<T>, options: { readonly allowed?: string; readonly hasSecretItems?: boolean } = {}): ValueKind<readonly T[]> {
  const allowed = options.allowed ?? `a comma-separated list; each item is ${item.allowed}`;
  return {
    allowed,
    parse: (text, context) => {
      const values: T[] = [];
      const items = text.split(/[,\r\n]/).map((part) => part.trim()).filter((part) => part !== "");
      for (const [index, part] of items.entries()) {
        const parsed = item.parse(part, context);
        if (!parsed.isValid) {
          const which = options.hasSecretItems === true ? `item ${index + 1}` : `item ${index + 1} (${JSON.stringify(part.slice(0, 100))})`;
          return invalid(`${allowed}; wrong is ${which}${parsed.problem === undefined ? "" : `: ${parsed.problem}`}`);
        }
        values.push(parsed.value);
      }
      return values.length === 0 ? invalid() : valid(values);
    },
    format: (values) => values.map((value) => item.format(value)).join(","),
  };
}
