/**
 * Entry of the worker thread that owns the database. Groups that arrive while one is being written join the next
 * transaction. Speaks protocol.ts with worker-link.ts and knows nothing of flows.
 */

import { parentPort, workerData } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { openDatabase } from "./database.ts";
import type { Database } from "./database.ts";
import { createDeadLetterChanges } from "./dead-letters.ts";
import type { DeadLetterChanges } from "./dead-letters.ts";
import { createGapReports } from "./gap-reports.ts";
import { endIfDamaged, errorMessage, startHeartbeat } from "./heartbeat.ts";
import { createLedger } from "./ledger.ts";
import type { Ledger } from "./ledger.ts";
import { checkSchema, readDeploymentId } from "./migrations.ts";
import { runOutboxCall } from "./outbox-calls.ts";
import { countAllPending, createOutbox } from "./outbox.ts";
import type { Outbox } from "./outbox.ts";
import { registerOwner } from "./owners.ts";
import { ownIdentity } from "./process-identity.ts";
import type { Answer, Call, FromWorker, GroupMessage, ToWorker, WorkerSetup } from "./protocol.ts";
import { createQueries } from "./queries.ts";
import type { Queries } from "./queries.ts";
import { registerSinks } from "./sink-bits.ts";
import { openSound } from "./sound-database.ts";
import { StoreError } from "./store-error.ts";

/** Rows of one pruning transaction: about 5 ms. */
const PRUNE_ROWS = 300;

/** Dead letters of one step. */
const DEAD_LETTER_ROWS = 200;

/** Pages that one step of shrinking gives back: 2 MiB. */
const SHRINK_PAGES = 256;

interface Service {
  write(groups: readonly GroupMessage[]): void;
  call(call: Call): Answer | Promise<Answer>;
}

interface Parts {
  readonly db: Database;
  readonly ledger: Ledger;
  readonly outbox: Outbox;
  readonly deadLetters: DeadLetterChanges;
  readonly queries: Queries;
}

const DONE: Answer = { name: "done" };

if (parentPort !== null) serve(parentPort, workerData);

function serve(port: MessagePort, setup: WorkerSetup): void {
  const send = (message: FromWorker): void => port.postMessage(message);
  let service: Service;
  try {
    service = setup.mode === "owner" ? openOwner(setup, send) : openReader(setup, send);
  } catch (error) {
    send({ kind: "failed", error: errorMessage(error) });
    return;
  }
  const queue = createGroupQueue(setup.nextSeq, service, send);
  port.on("message", (message: ToWorker) => {
    if (message.kind === "group") {
      queue.add(message);
      return;
    }
    const { id, call } = message;
    answer(service, call).then(
      (given) => {
        send({ kind: "answer", id, answer: given });
        if (call.name === "close") port.close();
      },
      (error: unknown) => {
        if (setup.mode === "owner") endIfDamaged(error);
        send({ kind: "answerError", id, error: errorMessage(error) });
      },
    );
  });
}

/** What a synchronous call throws becomes a rejection too. */
async function answer(service: Service, call: Call): Promise<Answer> {
  return await service.call(call);
}

/** Groups in order of their numbers. After a failure everything but the failed one is stale: the client sends it again. */
function createGroupQueue(firstSeq: number, service: Service, send: (message: FromWorker) => void): { add(group: GroupMessage): void } {
  let nextSeq = firstSeq;
  let waiting: GroupMessage[] = [];
  const write = (): void => {
    const groups = waiting;
    waiting = [];
    const last = groups.at(-1);
    if (last === undefined) return;
    try {
      service.write(groups);
      send({ kind: "written", seq: last.seq });
    } catch (error) {
      endIfDamaged(error);
      nextSeq = groups[0]?.seq ?? nextSeq;
      send({ kind: "refused", seq: nextSeq, error: errorMessage(error) });
    }
  };
  return {
    add(group) {
      if (group.seq !== nextSeq) return;
      nextSeq += 1;
      // The port hands over all messages that have arrived before the next turn of the loop.
      if (waiting.push(group) === 1) setImmediate(write);
    },
  };
}

function openOwner(setup: WorkerSetup, send: (message: FromWorker) => void): Service {
  const { path, busyTimeoutMs, maxBytes, isSuspect } = setup;
  const { db, deploymentId, damaged, isReplaced } = openSound({ path, busyTimeoutMs, maxBytes, isSuspect });
  const recordSync = setup.durability === "strict" ? "full" : "normal";
  const sinks = registerSinks(db, setup.sinks);
  const owners = registerOwner(db, {
    self: ownIdentity(),
    ownerId: setup.ownerId,
    delivers: setup.sinks.length > 0,
    adoptionSync: recordSync,
    nowMs: Date.now(),
  });
  const { recovered } = owners.adopt(Date.now(), performance.now());
  const ledger = createLedger(db, { ownerId: owners.id, recordSync, waitingMask: sinks.mask });
  const outbox = createOutbox(db, owners, sinks, setup.takenBatches);
  const deadLetters = createDeadLetterChanges(db, owners.id);
  const queries = createQueries(db, {
    pause,
    ownerId: owners.id,
    ownAfterPosition: setup.ownerId === undefined ? newestPosition(db) : 0,
    pending: () => outbox.pending(),
  });
  const gapReports = createGapReports(db, { ownerId: owners.id, source: `/tallyman/${deploymentId}`, waitingMask: sinks.mask });
  const stopBeating = startHeartbeat({ owners, gapReports, isReplaced, send });
  send({ kind: "ready", deploymentId, ownerId: owners.id, recovered, jobs: ledger.jobs(), damaged });
  return {
    write: (groups) => ledger.write(groups),
    call: (call) => (call.name === "close" ? close() : runCall(call, { db, ledger, outbox, deadLetters, queries })),
  };
  function close(): Answer {
    stopBeating();
    try {
      gapReports.reportAll(Date.now());
      owners.release();
    } finally {
      db.close();
    }
    return DONE;
  }
}

function openReader(setup: WorkerSetup, send: (message: FromWorker) => void): Service {
  const db = openDatabase({ path: setup.path, isReadOnly: true, busyTimeoutMs: setup.busyTimeoutMs });
  checkSchema(db);
  const queries = createQueries(db, { pause, ownerId: undefined, ownAfterPosition: 0, pending: () => countAllPending(db) });
  send({ kind: "ready", deploymentId: readDeploymentId(db), ownerId: undefined, recovered: 0, jobs: [], damaged: undefined });
  const refuse = (): never => {
    throw new StoreError("database_failed", "This connection only reads.");
  };
  return {
    write: refuse,
    call(call) {
      if (call.name === "events" || call.name === "usage" || call.name === "counts" || call.name === "deadLetters") return runQuery(call, queries);
      if (call.name !== "close") return refuse();
      db.close();
      return DONE;
    },
  };
}

type Query = Extract<Call, { name: "events" | "usage" | "counts" | "deadLetters" }>;

async function runQuery(query: Query, queries: Queries): Promise<Answer> {
  switch (query.name) {
    case "events":
      return { name: "events", records: await queries.events(query.query) };
    case "usage":
      return { name: "usage", rows: await queries.usage(query.query) };
    case "counts":
      return { name: "counts", counts: await queries.counts() };
    case "deadLetters":
      return { name: "deadLetters", deadLetters: queries.deadLetters(query.query) };
    default:
      return query satisfies never;
  }
}

function runCall(call: Exclude<Call, { name: "close" }>, { db, ledger, outbox, deadLetters, queries }: Parts): Answer | Promise<Answer> {
  switch (call.name) {
    case "events":
    case "usage":
    case "counts":
    case "deadLetters":
      return runQuery(call, queries);
    case "prune":
      return prune(ledger, call.beforeMs);
    case "changeDeadLetters":
      return changeDeadLetters(db, deadLetters, call.change, call.ids);
    default:
      return runOutboxCall(call, db, outbox);
  }
}

/** In steps of a few milliseconds. */
async function changeDeadLetters(db: Database, deadLetters: DeadLetterChanges, change: "replay" | "discard", ids: readonly string[] | undefined): Promise<Answer> {
  let events = 0;
  for (;;) {
    const step = db.transaction(
      () => (change === "replay" ? deadLetters.replay(ids, DEAD_LETTER_ROWS, Date.now()) : deadLetters.discard(ids, DEAD_LETTER_ROWS)),
      "full",
    );
    events += step;
    if (step < DEAD_LETTER_ROWS) return { name: "changed", events };
    await pause();
  }
}

async function prune(ledger: Ledger, beforeMs: number): Promise<Answer> {
  let removed = 0;
  for (;;) {
    const step = ledger.pruneStep(beforeMs, PRUNE_ROWS);
    removed += step;
    if (step < PRUNE_ROWS) break;
    await pause();
  }
  while (ledger.shrinkStep(SHRINK_PAGES)) await pause();
  return { name: "pruned", removed };
}

function newestPosition(db: Database): number {
  const row = db.read(() => db.prepare("SELECT coalesce(max(position), 0) AS n FROM events").get());
  return Number(row?.["n"]);
}

function pause(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
