import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";

import { createLogger, flowFields, type LogOptions } from "../src/log.ts";
import { connectorEvent, modelEvent } from "./support/usage-event.ts";

const TIME = /^\d\d:\d\d:\d\d /;

function lines(options: Partial<LogOptions> = {}) {
  const written: string[] = [];
  const stderr = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString());
      done();
    },
  });
  return { written, logger: createLogger({ level: "info", format: "text", stderr, isTerminal: false, ...options }) };
}

/** What a program prints on stderr that logs by `code`, where `logger` is JSON. */
function printed(code: string): string {
  const source = `import { createLogger } from ${JSON.stringify(join(import.meta.dirname, "..", "src", "log.ts"))};
    const make = () => createLogger({ level: "info", format: "auto", stderr: process.stderr, isTerminal: false });
    const logger = make();
    ${code}`;
  const { stderr, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", source], { encoding: "utf8" });
  expect(stdout).toBe("");
  return stderr;
}

describe("text lines", () => {
  it("show a flow on one line", () => {
    const { written, logger } = lines();
    logger.info(flowFields(modelEvent({ agent_id: "agent-7", usage: { input_tokens: 12_307 }, totals: { input_tokens: 12_307, output_tokens: 550, total_tokens: 12_857 }, latency_ms: 3110.2, cost: { amount: "0.0543", currency: "USD", source: "price_book" } })), "flow");
    expect(written).toHaveLength(1);
    expect(written[0]).toMatch(TIME);
    expect(written[0]?.replace(TIME, "")).toBe("openai  gpt-5-2025-08-07  200  12,307 in  550 out  $0.0543  3110 ms  agent-7\n");
  });

  it("name what is not plain about it", () => {
    const { written, logger } = lines();
    logger.info(flowFields(modelEvent({ completeness: "partial", usage_source: "estimate", status: null, response_model: null, request_model: null, operation: "list_models" })), "flow");
    expect(written[0]?.replace(TIME, "")).toBe("openai  list_models  -  10 in  5 out  100 ms  partial  estimate\n");
  });

  it("show the counts of a connector by name", () => {
    const { written, logger } = lines();
    logger.info(flowFields(connectorEvent()), "flow");
    expect(written[0]?.replace(TIME, "")).toBe("x  tweets.lookup  200  posts.read=12  100 ms\n");
  });

  it("show other records with their level and fields", () => {
    const { written, logger } = lines();
    logger.warn({ code: "ENOSPC", count: 3, list: ["a"], nothing: null }, "the disk is full");
    logger.info("ready");
    expect(written.map((line) => line.replace(TIME, ""))).toEqual(['warning: the disk is full code=ENOSPC count=3 list=["a"]\n', "ready\n"]);
  });

  it("leave out what is below the level", () => {
    const { written, logger } = lines({ level: "warn" });
    logger.info("not this");
    logger.error("but this");
    expect(written).toHaveLength(1);
  });

  it("let nothing from outside write on the terminal", () => {
    const { written, logger } = lines();
    logger.info(flowFields(modelEvent({ response_model: "evil\u001b[2J\nmodel\u009b", agent_id: "a\r\nforged line" })), "flow");
    logger.warn({ host: "h\u001b]0;title\u0007" }, "message\nwith a line");
    for (const line of written) {
      // eslint-disable-next-line no-control-regex -- that is the point
      expect(line.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
    }
    expect(written).toHaveLength(2);
  });

  it("are what `auto` means on a terminal", () => {
    const { written, logger } = lines({ format: "auto", isTerminal: true });
    logger.info("ready");
    expect(written[0]).toMatch(/ ready\n$/);
  });
});

describe("JSON lines", () => {
  it("go to stderr, whole, also when the process ends at once", () => {
    const text = printed(`for (let n = 0; n < 100; n += 1) logger.info({ n }, "line"); process.exit(0);`);
    const records = text.trim().split("\n").map((line): Record<string, unknown> => JSON.parse(line));
    expect(records).toHaveLength(100);
    expect(Object.keys(records[0] ?? {})).toEqual(["level", "time", "n", "msg"]);
    // What was being written when the process ended may come after what was flushed then.
    expect(new Set(records.map((record) => record["n"])).size).toBe(100);
    expect(records[99]).toMatchObject({ level: 30, msg: "line", time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) });
  });

  it("come from any number of loggers without a warning of the process", () => {
    const text = printed(`for (let n = 0; n < 30; n += 1) make().info({ n }, "line");`);
    expect(text).not.toContain("MaxListeners");
    expect(text.trim().split("\n")).toHaveLength(30);
  });

  it("let the process end by itself", () => {
    expect(printed(`logger.info("line");`)).toContain('"msg":"line"');
  });
});

describe("flowFields", () => {
  it("names counts and owners of a model flow, and nothing of its content", () => {
    expect(flowFields(modelEvent({ agent_id: "a", metadata: { note: "private" } }))).toEqual({
      flow_id: "0193f0a2-0000-7000-8000-000000000000",
      meter: "openai",
      status: 200,
      completeness: "complete",
      source: "provider",
      latency_ms: 100,
      agent_id: "a",
      operation: "chat",
      model: "gpt-5-2025-08-07",
      input_tokens: 10,
      output_tokens: 5,
      cost: null,
    });
  });

  it("names the route and the counts of a connector flow", () => {
    expect(flowFields(connectorEvent())).toMatchObject({ meter: "x", route: "tweets.lookup", usage: { "posts.read": 12 } });
  });
});
