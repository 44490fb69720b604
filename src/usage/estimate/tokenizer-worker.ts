/**
 * The tokenizer's thread: takes jobs of tokenizer.ts one by one and answers each. Encodings are loaded when first asked
 * for, and stay until the thread ends. Keeps no text from one job to the next, and tells none in an error.
 */

import { parentPort } from "node:worker_threads";
import { loadTextCounter, MAX_WORK, TooCostly, type TextCounter } from "./count-text.ts";
import type { EncodingName } from "./encoding-of-model.ts";
import { LEFT_OUT } from "./held-body.ts";
import { promptTextOf, type PromptText } from "./prompt-text.ts";
import type { CountAnswer, CountFailure, CountJob, CountSubject } from "./tokenizer-protocol.ts";

const counters = new Map<EncodingName, Promise<TextCounter>>();

const port = parentPort;
port?.on("message", (job: CountJob) => {
  void answer(job).then((reply) => port.postMessage(reply));
});

async function answer({ id, encoding, subject }: CountJob): Promise<CountAnswer> {
  try {
    const prompt = promptOf(subject);
    if (typeof prompt === "string") return { id, kind: "failed", reason: prompt };
    const counter = await counterOf(encoding);
    const work = { left: MAX_WORK };
    const tokens = prompt.texts.reduce((sum, text) => sum + counter.count(text, work), prompt.tokenIds);
    return { id, kind: "counted", tokens, messages: prompt.messages };
  } catch (error) {
    return { id, kind: "failed", reason: error instanceof TooCostly ? "too_costly" : "fault" };
  }
}

/** The texts to count, or why there are none. */
function promptOf(subject: CountSubject): PromptText | CountFailure {
  if (subject.kind === "text") return { texts: [subject.text], tokenIds: 0, messages: 0 };
  const document = parse(Buffer.from(subject.body.buffer).toString("utf8"));
  if (document === undefined) return "not_json";
  const prompt = promptTextOf(document);
  return prompt.texts.some((text) => text.includes(LEFT_OUT)) ? "left_out" : prompt;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The error would quote the body.
    return undefined;
  }
}

function counterOf(encoding: EncodingName): Promise<TextCounter> {
  const loaded = counters.get(encoding);
  if (loaded !== undefined) return loaded;
  const loading = loadTextCounter(encoding);
  counters.set(encoding, loading);
  return loading;
}
