/**
 * Opens the database for an owner, whatever state it is in: a damaged one is set aside and a new one made, under the old
 * deployment id, so that the events of both have one source.
 */

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openDatabase, toStoreError } from "./database.ts";
import type { Database, DatabaseOptions } from "./database.ts";
import { migrate } from "./migrations.ts";
import { setAside } from "./set-aside.ts";
import { StoreError } from "./store-error.ts";

export interface SoundDatabase {
  readonly db: Database;
  readonly deploymentId: string;
  /** What became of a database that was damaged: its new path. */
  readonly damaged: string | undefined;
  /** Another file stands where this one was opened. */
  isReplaced(): boolean;
}

export interface SoundOptions extends DatabaseOptions {
  /** A worker found the database damaged while it used it: it is checked as a whole. */
  readonly isSuspect: boolean;
}

/** Up to this size a database is checked at every start: a tenth of a second. A larger one shows its damage when it is used. */
const MAX_CHECKED_BYTES = 32 * 1024 * 1024;

const EMPTY_WAIT_MS = 1000;

/** Beside the database; a new one takes the id over. */
const ID_FILE = "deployment-id";

/** Throws StoreError for everything but damage. */
export function openSound(options: SoundOptions): SoundDatabase {
  const idFile = join(dirname(options.path), ID_FILE);
  const knownId = readId(idFile);
  let opened = tryOpen(options, knownId);
  let damaged: string | undefined;
  if (opened === undefined) {
    const makeNew = (): void => {
      const db = openDatabase(options);
      migrate(db, knownId);
      db.close();
    };
    damaged = setAside(options.path, Date.now(), () => isDamaged(options, knownId), makeNew);
    opened = tryOpen({ ...options, isSuspect: false }, knownId);
  }
  if (opened === undefined) throw new StoreError("not_a_database", `${options.path} is damaged. Move it away, or set TALLYMAN_DATA_DIR to another directory.`);
  const { db, deploymentId } = opened;
  if (deploymentId !== knownId) writeId(idFile, deploymentId);
  return { db, deploymentId, damaged, isReplaced: replacementCheck(options.path) };
}

/** Undefined when it is damaged. */
function tryOpen(options: SoundOptions, knownId: string | undefined): { db: Database; deploymentId: string } | undefined {
  const size = statSync(options.path, { throwIfNoEntry: false })?.size;
  // What had a name and has nothing any more was cut off.
  if (size === 0 && knownId !== undefined) return undefined;
  let db: Database | undefined;
  try {
    db = openDatabase(options);
    const deploymentId = migrate(db, knownId);
    if (isSound(db, options.isSuspect, size ?? 0)) return { db, deploymentId };
    db.close();
    return undefined;
  } catch (error) {
    db?.close();
    const found = toStoreError(error);
    if (found.code === "not_a_database") return undefined;
    throw found;
  }
}

function isSound(db: Database, isSuspect: boolean, size: number): boolean {
  if (!isSuspect && size > MAX_CHECKED_BYTES) return true;
  const row = db.read(() => db.prepare(isSuspect ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)").get());
  return Object.values(row ?? {})[0] === "ok";
}

/** Looked at again for a while when it is empty: another process may be making it. */
function isDamaged(options: SoundOptions, knownId: string | undefined): boolean {
  const deadline = Date.now() + EMPTY_WAIT_MS;
  while (statSync(options.path, { throwIfNoEntry: false })?.size === 0 && Date.now() < deadline) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  const opened = tryOpen(options, knownId);
  opened?.db.close();
  return opened === undefined;
}

function replacementCheck(path: string): () => boolean {
  const { ino, dev } = statSync(path);
  return () => {
    const now = statSync(path, { throwIfNoEntry: false });
    return now?.ino !== ino || now.dev !== dev;
  };
}

function readId(file: string): string | undefined {
  try {
    const id = readFileSync(file, "utf8").trim();
    return /^[0-9a-f-]{36}$/.test(id) ? id : undefined;
  } catch {
    return undefined; // Not there yet: it is written below.
  }
}

/** A second place for the id. Without it all works as long as the database does. */
function writeId(file: string, id: string): void {
  try {
    writeFileSync(file, `${id}\n`, { mode: 0o600 });
  } catch {
    // The disk is full, perhaps: the next start writes it.
  }
}
