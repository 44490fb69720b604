/** A thread in the tokenizer's place that dies over every job. */

import { parentPort } from "node:worker_threads";

parentPort?.on("message", () => process.exit(1));
