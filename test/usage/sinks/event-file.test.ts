import { getEventListeners } from "node:events";
import { appendFile, mkdir, readFile, rename, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { createEventFile, createEventStream } from "../../../src/usage/sinks/event-file.ts";
import { temporaryFolder } from "../../store/support.ts";
import { sinkBatch, sinkContract, sinkEvent } from "../../support/sink-contract.ts";

function linesOf(file: string): string[] {
  return readFileSync(file, "utf8").split("\n").filter((line) => line !== "");
}

sinkContract("a file", () => {
  const folder = join(temporaryFolder(), "logs");
  const file = join(folder, "events.ndjson");
  return mkdir(folder).then(() => ({
    sink: createEventFile(file),
    received: () => linesOf(file),
    breakDown: () => rm(folder, { recursive: true }),
    close: () => undefined,
  }));
}, { hasStatuses: false });

sinkContract("standard output", () => {
  const written: string[] = [];
  let isBroken = false;
  const stream = new Writable({
    write(chunk, _encoding, done) {
      if (!isBroken) written.push(String(chunk));
      done(isBroken ? Object.assign(new Error("broken pipe"), { code: "EPIPE" }) : null);
    },
  });
  return Promise.resolve({ sink: createEventStream(stream), received: () => written, breakDown: () => void (isBroken = true), close: () => undefined });
}, { hasStatuses: false });

describe("a file of events", () => {
  const never = new AbortController().signal;

  it("has a line for each event, with the frozen bytes", async () => {
    const file = join(temporaryFolder(), "events.ndjson");
    const sink = createEventFile(file);
    await sink.send(sinkBatch(sink, ["a", "b"]), never);
    await sink.send(sinkBatch(sink, ["c"]), never);
    expect(await readFile(file, "utf8")).toBe(["a", "b", "c"].map((id) => `${sinkEvent(id).body}\n`).join(""));
  });

  it("begins a line of its own behind one that was cut off", async () => {
    const file = join(temporaryFolder(), "events.ndjson");
    const sink = createEventFile(file);
    await appendFile(file, '{"specversion":"1.');
    await sink.send(sinkBatch(sink, ["a"]), never);
    expect(linesOf(file)).toEqual(['{"specversion":"1.', sinkEvent("a").body]);
  });

  it("is made anew when it was moved away", async () => {
    const file = join(temporaryFolder(), "events.ndjson");
    const sink = createEventFile(file);
    await sink.send(sinkBatch(sink, ["a"]), never);
    await rename(file, `${file}.1`);
    await sink.send(sinkBatch(sink, ["b"]), never);
    expect(linesOf(file)).toEqual([sinkEvent("b").body]);
  });
});

describe("a stream of events", () => {
  it("leaves nothing on the signal that outlives its batches", async () => {
    const sink = createEventStream(new Writable({ write: (_chunk, _encoding, done) => done() }));
    const { signal } = new AbortController();
    for (let n = 0; n < 20; n++) await sink.send(sinkBatch(sink, [`e${n}`]), signal);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});
