#!/usr/bin/env node
/** argv → command → exit code. The version is checked before anything is imported that an older Node cannot load. */

import { access } from "node:fs";
import { setFlagsFromString } from "node:v8";

const REQUIRED_MAJOR = 24;
/** libuv gives name lookups half of its threads: with its own four, two names that hang would hold up all others. */
const THREADS = "16";
/** That of Node 24. */
const TUNED_V8 = "13.";

if (Number(process.versions.node.split(".")[0]) < REQUIRED_MAJOR) {
  process.stderr.write(
    `tallyman needs Node ${REQUIRED_MAJOR} or newer; this is v${process.versions.node}. Run it with \`npm start\`, which brings its own, or install Node ${REQUIRED_MAJOR}.\n`,
  );
  process.exitCode = 2;
} else {
  startThreads();
  tuneCollector();
  const { runProcess } = await import("./cli/process.ts");
  await runProcess();
}

/** The pool reads its size from the environment when it is first used; children need not inherit it. */
function startThreads(): void {
  if (process.env["UV_THREADPOOL_SIZE"] !== undefined) return;
  process.env["UV_THREADPOOL_SIZE"] = THREADS;
  access(".", () => undefined);
  delete process.env["UV_THREADPOOL_SIZE"];
}

/**
 * Both are read at each collection, so that they may be set now (what they save: docs/performance.md).
 *
 * - V8's helpers wait for one another while they copy young objects: beside other work on the same CPU that costs more than
 *   the copying.
 * - Bytes that pass are no heap, but V8 starts a full collection at each 64 MB of them however small the heap is: large bodies
 *   cost more to collect than to relay. Counted as a part of the heap they are collected when that has grown.
 */
function tuneCollector(): void {
  // Another V8 may not know them, and says so on stderr.
  if (!process.versions.v8.startsWith(TUNED_V8)) return;
  setFlagsFromString("--no-parallel-scavenge");
  setFlagsFromString("--external-memory-accounted-in-global-limit");
}
