/** `tallyman run -- CMD` as a user types it: the command is itself, only metered. */

import { mkdir, readdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { parseCallReport, type CallReport } from "../../src/cli/demo-call.ts";
import { BUNDLE_VARIABLES } from "../../src/cli/proxy-environment.ts";
import { runCommand, startCommand, type Command, type Ended } from "../support/program.ts";
import { openStage, type Stage } from "../support/stage.ts";
import { until } from "../support/until.ts";

/** An agent that knows of no proxy but by its environment. Makes six calls, five of which cost something; prints a report of each. */
const AGENT = fileURLToPath(new URL("../../src/cli/demo-agent.ts", import.meta.url));
const PAID_CALLS = 5;

let stage: Stage;
let cwd: string;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage?.close());
beforeEach(async () => {
  cwd = join(stage.dir, `cwd-${Math.random()}`);
  await mkdir(cwd);
});

function start(command: readonly string[], env: NodeJS.ProcessEnv = {}): Command {
  return startCommand(["run", "--", ...command], { cwd, env: { ...stage.env, ...env } });
}

function run(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return start(command, env).ended();
}

/** Arguments that run a script of this Node. */
function script(text: string): string[] {
  return [process.execPath, "--eval", text];
}

function reportsOf(stdout: string): CallReport[] {
  return stdout.split("\n").flatMap((line) => parseCallReport(line) ?? []);
}

async function portIsClosed(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", () => resolve(true));
  });
}

describe("the command", () => {
  it("keeps its stdout and its exit code, byte for byte", async () => {
    const text = "process.stdout.write('a line\\n\\tand a tail without one'); process.stderr.write('a complaint\\n'); process.exitCode = 7;";
    const { code, stdout, stderr } = await run(script(text));
    expect([code, stdout]).toEqual([7, "a line\n\tand a tail without one"]);
    expect(stderr).toBe("a complaint\n\ntallyman: no usage was seen in this run.\n");
  });

  it("is told of the proxy and the roots by its environment, and can read the files", async () => {
    const { stdout, code } = await run(script("process.stdout.write(JSON.stringify(process.env))"), { NO_PROXY: "corp.example" });
    expect(code).toBe(0);
    const env = JSON.parse(stdout) as Record<string, string>;
    for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]) expect(env[name]).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(env["NO_PROXY"]).toBe("corp.example,localhost,127.0.0.1,::1");
    expect(env["NODE_USE_ENV_PROXY"]).toBe("1");
    expect(env["NODE_EXTRA_CA_CERTS"]).toBe(join(stage.caDir, "ca.pem"));
    for (const name of BUNDLE_VARIABLES) expect(env[name]).toBe(join(stage.caDir, "ca-bundle.pem"));
    expect(await readdir(stage.caDir)).toEqual(expect.arrayContaining(["ca.pem", "ca-bundle.pem"]));
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
    ["SIGUSR2", 140],
  ] as const)("gets %s, and ends us with exit code %i", async (signal, code) => {
    const running = start(script("process.stdout.write('ready'); setInterval(() => {}, 1000)"));
    await until(() => running.stdout === "ready", "the command to start");
    running.child.kill(signal);
    expect((await running.ended()).code).toBe(code);
  });

  // Node would begin to listen for a debugger on SIGUSR1, in us as in the command.
  it.each(["SIGTERM", "SIGUSR1"] as const)("may take %s and go on: its own exit code counts", async (signal) => {
    const running = start(script(`process.on('${signal}', () => { process.stdout.write(' taken'); process.exit(5); }); process.stdout.write('ready'); setInterval(() => {}, 1000)`));
    await until(() => running.stdout === "ready", "the command to start");
    running.child.kill(signal);
    expect(await running.ended()).toMatchObject({ code: 5, stdout: "ready taken" });
  });

  it("that does not exist is 127, one that cannot be run 126, each with one message", async () => {
    const missing = await run(["no-such-command-anywhere"]);
    expect([missing.code, missing.stdout]).toEqual([127, ""]);
    expect(missing.stderr).toMatch(/^tallyman: no-such-command-anywhere: command not found\n/);
    const file = join(cwd, "not-executable");
    await writeFile(file, "#!/bin/sh\n", { mode: 0o644 });
    const denied = await run([file]);
    expect(denied.code).toBe(126);
    expect(denied.stderr).toContain("cannot be run (EACCES)");
    for (const { stderr } of [missing, denied]) expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe("the metering", () => {
  it("counts what an agent with real SDKs used, shows it on stderr, delivers it, and leaves nothing behind", async () => {
    const before = stage.received().length;
    const show = "process.stderr.write('proxy ' + process.env.HTTPS_PROXY + '\\n'); await import(process.argv[1])";
    const { code, stdout, stderr } = await run([process.execPath, "--input-type=module", "--eval", show, AGENT]);
    expect([code, stderr.includes("Error")], stderr).toEqual([0, false]);
    const reports = reportsOf(stdout).filter(({ responseId }) => responseId !== null);
    expect(reports).toHaveLength(PAID_CALLS);
    const received = stage.received().slice(before);
    expect(received).toHaveLength(PAID_CALLS);
    for (const { responseId, inputTokens, outputTokens } of reports) {
      const event = received.find(({ data }) => data.response_id === responseId);
      expect(event?.data.totals).toMatchObject({ input_tokens: inputTokens, output_tokens: outputTokens });
    }
    for (const model of ["claude-opus-5-5", "gpt-5.4", "gpt-6-sol", "total"]) expect(stderr).toMatch(new RegExp(`^${model} +\\d`, "m"));
    expect(stderr).toMatch(/^total +5 /m);
    expect(await readdir(cwd)).toEqual([]);
    expect(await portIsClosed(/^proxy (\S+)$/m.exec(stderr)?.[1] ?? "")).toBe(true);
  });

  it("is each run's own where several run side by side on one ledger", async () => {
    const dataDir = join(stage.dir, "side-by-side");
    const env = { TALLYMAN_DATA_DIR: dataDir };
    const before = stage.received().length;
    const runs = await Promise.all([1, 2].map((n) => run([process.execPath, AGENT], { ...env, TALLYMAN_AGENT_ID: `agent-${n}` })));
    for (const { code, stderr } of runs) {
      expect(code, stderr).toBe(0);
      expect(stderr).toMatch(/^total +5 /m);
    }
    const received = stage.received().slice(before);
    expect(received.map(({ data }) => data.agent_id).toSorted()).toEqual([...Array<string>(PAID_CALLS).fill("agent-1"), ...Array<string>(PAID_CALLS).fill("agent-2")]);
    const usage = await runCommand(["usage", "--by", "agent", "--json"], { cwd, env });
    expect(JSON.parse(usage.stdout)).toMatchObject({ rows: [{ key: "agent-1", requests: 5 }, { key: "agent-2", requests: 5 }], total: { requests: 10 } });
  });

  it("works with TALLYMAN_PROXY_TOKENS: the command gets credentials of its own", async () => {
    const before = stage.received().length;
    const { code, stdout, stderr } = await run([process.execPath, AGENT], { TALLYMAN_PROXY_TOKENS: "hunter2,hunter3" });
    expect(code, stderr).toBe(0);
    expect(reportsOf(stdout)).toHaveLength(PAID_CALLS + 1);
    expect(stage.received().slice(before).map(({ data }) => data.agent_id)).toEqual(Array<string>(PAID_CALLS).fill("run"));
    expect(stderr).not.toContain("hunter");
  });

  it("says how many events wait where the receiver does not take them", async () => {
    const env = { TALLYMAN_DATA_DIR: join(stage.dir, "waiting"), TALLYMAN_WEBHOOK_URL: "http://127.0.0.1:1/", TALLYMAN_DRAIN_TIMEOUT: "200ms" };
    const { code, stderr } = await run([process.execPath, AGENT], env);
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/^total +5 /m);
    expect(stderr).toMatch(/^tallyman: 5 event\(s\) wait for the receiver/m);
  });
});
