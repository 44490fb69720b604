/** A thread in the tokenizer's place that never answers a job whose text is "hang", and says 7 to every other. */

import { parentPort } from "node:worker_threads";

const port = parentPort;
port?.on("message", (job: { id: number; subject: { text?: string } }) => {
  while (job.subject.text === "hang");
  port.postMessage({ id: job.id, kind: "counted", tokens: 7, messages: 0 });
});
