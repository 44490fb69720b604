/**
 * Which things were counted before, in this process and on this UTC day: for vendors that bill a thing once a day
 * (reference/connectors.md section 6.5). Keeps salted hashes of 64 bits, never an id. Bounded: full, it tells nothing
 * apart any more, so what is billed is overstated and never understated. A restart forgets, to the same effect.
 */

import { randomInt } from "node:crypto";

export interface SeenIds {
  /** Whether the thing is new today. `kind`: two things of different kinds are two, whatever their ids. */
  isNew(account: string, kind: string, id: string): boolean;
  /** Full since the day began: everything that is not known is new. */
  readonly isSaturated: boolean;
}

export interface SeenIdsOptions {
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Ids that are held at most, of all accounts. Default 500,000, which take 8 MiB from the first one on. */
  readonly maxIds?: number;
}

const DEFAULT_MAX_IDS = 500_000;
const DAY_MS = 86_400_000;
const NO_SLOTS = new Uint32Array(0);

export function createSeenIds({ now, maxIds = DEFAULT_MAX_IDS }: SeenIdsOptions): SeenIds {
  const slotCount = 2 ** Math.ceil(Math.log2(maxIds * 2));
  const salt = Uint32Array.of(randomInt(2 ** 32), randomInt(2 ** 32));
  const hash = new Uint32Array(2);
  let slots = NO_SLOTS;
  let size = 0;
  let day = -1;

  /** Forgets what was seen on another day. */
  const turnTo = (today: number): void => {
    if (today === day) return;
    day = today;
    size = 0;
    slots = NO_SLOTS;
  };

  /** Where the hash stands, or the free place where it belongs. Half of all places are free. */
  const find = (high: number, low: number): number => {
    let at = low & (slotCount - 1);
    while ((slots[at * 2] !== high || slots[at * 2 + 1] !== low) && (slots[at * 2] !== 0 || slots[at * 2 + 1] !== 0)) at = (at + 1) & (slotCount - 1);
    return at * 2;
  };

  return {
    isNew(account, kind, id) {
      turnTo(Math.floor(now() / DAY_MS));
      if (slots.length === 0) slots = new Uint32Array(slotCount * 2);
      hashInto(hash, salt, `${account}\n${kind}\n${id}`);
      const [high = 0, low = 0] = hash;
      const place = find(high, low);
      if (slots[place] === high && slots[place + 1] === low) return false;
      if (size >= maxIds) return true;
      slots[place] = high;
      slots[place + 1] = low;
      size++;
      return true;
    },
    get isSaturated() {
      return size >= maxIds;
    },
  };
}

/** Two 32-bit hashes of one pass (FNV-1a with salt, then the finish of MurmurHash3). Never two zeros: they mark a free place. */
function hashInto(hash: Uint32Array, salt: Uint32Array, text: string): void {
  let a = 0x811c9dc5 ^ (salt[0] ?? 0);
  let b = 0x811c9dc5 ^ (salt[1] ?? 0);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x85ebca6b);
    b = (b << 13) | (b >>> 19);
  }
  hash[0] = finish(a ^ text.length);
  hash[1] = finish(b + a);
  if (hash[0] === 0 && hash[1] === 0) hash[1] = 1;
}

function finish(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
