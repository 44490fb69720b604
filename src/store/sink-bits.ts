/** Each sink's bit in `events.waiting`: given out at a sink's first start, and kept for as long as the database. */

import type { Database } from "./database.ts";
import { integerOf } from "./database.ts";
import { StoreError } from "./store-error.ts";

/** A set of sinks has to be a 31-bit integer. */
const MAX_SINKS = 31;

export interface SinkBits {
  /** The sinks of this process, as a set of bits; 0 without any. */
  readonly mask: number;
  /** The bit number of a sink of this process. Throws StoreError for any other. */
  bitOf(sink: string): number;
}

/** Looks the sinks of this process up, and adds those that are new. Throws StoreError when the database knows too many. */
export function registerSinks(db: Database, sinks: readonly string[]): SinkBits {
  const find = db.prepare("SELECT bit FROM sinks WHERE id = ?");
  const add = db.prepare("INSERT INTO sinks SELECT ?, coalesce(max(bit), -1) + 1 FROM sinks");
  const known = (): Map<string, number> => new Map(sinks.flatMap((id) => bitRow(find.get(id)).map((bit): [string, number] => [id, bit])));
  let bits = known();
  if (bits.size < new Set(sinks).size) {
    db.transaction(() => {
      for (const id of new Set(sinks)) if (find.get(id) === undefined) add.run(id);
      bits = known();
    }, "full");
  }
  if (Math.max(-1, ...bits.values()) >= MAX_SINKS) {
    throw new StoreError("too_many_sinks", `${db.path} has served ${MAX_SINKS} different sinks, which is the most that one database can. Set TALLYMAN_DATA_DIR to another directory.`);
  }
  return {
    mask: [...bits.values()].reduce((mask, bit) => mask | (1 << bit), 0),
    bitOf(sink) {
      const bit = bits.get(sink);
      if (bit === undefined) throw new StoreError("unknown_sink", `"${sink}" is no sink of this process.`);
      return bit;
    },
  };
}

function bitRow(row: Record<string, unknown> | undefined): number[] {
  return row === undefined ? [] : [integerOf(row["bit"])];
}
