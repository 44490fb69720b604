/** Starts and ends the processes of the bench, each on its CPU, in a folder that is removed at the end. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadOrCreateAuthority } from "../src/proxy/certificate-authority.ts";
import type { Route } from "./client.ts";
import { type Arena, type Contestant, HOSTS } from "./contestants.ts";
import { METERED_HOSTS } from "./exchanges.ts";

const START_TIMEOUT_MS = 20_000;
const END_TIMEOUT_MS = 10_000;
const DAY_MS = 24 * 60 * 60 * 1000;
const PROXY_CPU = "0";
const LOAD_CPU = "1";

/** True where each side gets a CPU of its own. */
export const isPinned = availableParallelism() > 1 && spawnSync("taskset", ["--version"]).status === 0;

/** The upstream, and the folder that all share. */
export interface Stage {
  readonly folder: string;
  readonly upstreamPort: number;
  readonly leavesFile: string;
  readonly rootFile: string;
  readonly direct: Route;
  readonly close: () => Promise<void>;
}

/** A contestant that accepts connections. */
export interface Running {
  readonly contestant: Contestant;
  readonly pid: number;
  /** The way to a contestant's host, which may be `meteredHost`. */
  readonly routeTo: (meteredHost: string) => Route;
  readonly stop: () => Promise<void>;
}

/** Starts the upstream and moves this process, the load generator, away from the proxies' CPU. */
export async function openStage(): Promise<Stage> {
  if (isPinned) spawnSync("taskset", ["-a", "-c", "-p", LOAD_CPU, String(process.pid)]);
  const folder = mkdtempSync(join(tmpdir(), "tallyman-bench-"));
  const { leavesFile, rootFile } = await writeCertificates(folder);
  const [upstreamPort] = await freePorts(1);
  const port = upstreamPort ?? 0;
  const upstream = launch(LOAD_CPU, join(folder, "upstream.log"), [join(import.meta.dirname, "upstream.ts"), String(port), leavesFile], {});
  const close = async (): Promise<void> => {
    await end(upstream);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await listening(port, upstream, join(folder, "upstream.log"));
  } catch (error) {
    await close();
    throw error;
  }
  const direct = { proxyPort: undefined, host: HOSTS.unknown, port, ca: readFileSync(rootFile, "utf8") };
  return { folder, upstreamPort: port, leavesFile, rootFile, direct, close };
}

/** Rejects with what the contestant wrote when it does not come up. */
export async function start(contestant: Contestant, stage: Stage, program: string): Promise<Running> {
  const folder = join(stage.folder, contestant.id);
  mkdirSync(folder);
  const [proxyPort = 0, adminPort = 0] = await freePorts(2);
  const arena: Arena = { ...stage, folder, proxyPort, adminPort, program };
  const { args, env } = contestant.start(arena);
  const log = join(folder, "log");
  const child = launch(PROXY_CPU, log, args, env);
  try {
    await listening(proxyPort, child, log);
    if (child.pid === undefined) throw new Error("it has no process id");
    const route = { proxyPort, port: contestant.port(arena), ca: readFileSync(contestant.root(arena), "utf8") };
    const routeTo = (meteredHost: string): Route => ({ ...route, host: contestant.host === "metered" ? meteredHost : contestant.host });
    return { contestant, pid: child.pid, routeTo, stop: () => end(child) };
  } catch (error) {
    await end(child);
    throw error;
  }
}

/** Leaves for every host of the bench, signed by a root made for this run. */
async function writeCertificates(folder: string): Promise<{ readonly leavesFile: string; readonly rootFile: string }> {
  const authority = await loadOrCreateAuthority(join(folder, "root"));
  const now = Date.now();
  const leaves = await Promise.all(
    [...Object.values(HOSTS), ...METERED_HOSTS].map(async (host) => {
      const leaf = await authority.issueLeaf(host, DAY_MS, now);
      return { host, cert: leaf.certificatePem, key: leaf.keyPem };
    }),
  );
  const leavesFile = join(folder, "leaves.json");
  writeFileSync(leavesFile, JSON.stringify(leaves), { mode: 0o600 });
  return { leavesFile, rootFile: authority.certificatePath };
}

/** taskset becomes the program it starts: the process id is node's own. The caller's settings stay outside. */
function launch(cpu: string, log: string, args: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
  const command = isPinned ? ["taskset", "-c", cpu, process.execPath, ...args] : [process.execPath, ...args];
  const output = openSync(log, "w");
  return spawn(command[0] ?? "", command.slice(1), {
    stdio: ["ignore", output, output],
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], TMPDIR: process.env["TMPDIR"], ...env },
  });
}

async function listening(port: number, child: ChildProcess, log: string): Promise<void> {
  const until = Date.now() + START_TIMEOUT_MS;
  while (!(await accepts(port))) {
    const hasEnded = child.exitCode !== null || child.signalCode !== null;
    if (hasEnded || Date.now() > until) throw new Error(`${hasEnded ? "it ended" : "it does not listen"}: ${lastLines(log)}`);
    await delay(50);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const done = (isOpen: boolean) => (): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once("connect", done(true)).once("error", done(false));
  });
}

function lastLines(log: string): string {
  const lines = readFileSync(log, "utf8").split("\n").filter((line) => line.trim() !== "");
  const cause = lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1);
  return cause ?? "it wrote nothing";
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const deadline = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT_MS);
  await ended;
  clearTimeout(deadline);
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve) => {
      const server = createServer();
      server.listen(0, "127.0.0.1", () => resolve(server));
    })),
  );
  return Promise.all(
    servers.map((server) => new Promise<number>((resolve) => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    })),
  );
}
