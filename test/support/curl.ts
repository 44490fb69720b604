/** The real `curl`, through the proxy, with its output byte for byte. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

import { plainEnvironment, type Program } from "./program.ts";

/** False on the few machines that have none: its tests are shown as skipped there. */
export const hasCurl = spawnSync("curl", ["--version"]).status === 0;

export interface Curl {
  /** Body bytes as they came so far. */
  readonly body: Buffer;
  /** Undefined while it runs. */
  readonly exitCode: number | undefined;
  /** SIGKILL. */
  kill(): void;
  /** Resolves to the exit code (-1 when it was killed); the body is complete then. */
  ended(): Promise<number>;
}

export interface CurlAnswer {
  readonly exitCode: number;
  readonly status: number;
  readonly body: Buffer;
  readonly stderr: string;
}

/** Starts curl with arguments of the test's own. Writes what arrives at once, decodes nothing. */
export function startCurl(args: readonly string[], input?: Buffer | string): Curl & { readonly stderr: string } {
  const child = spawn("curl", ["--silent", "--show-error", "--no-buffer", ...args], { env: plainEnvironment(), stdio: "pipe" });
  const chunks: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // curl may end before it has read all of its input.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const closed = once(child, "close");
  return {
    get body() {
      return Buffer.concat(chunks);
    },
    get stderr() {
      return stderr;
    },
    get exitCode() {
      return child.exitCode ?? undefined;
    },
    kill: () => void child.kill("SIGKILL"),
    async ended() {
      await closed;
      return child.exitCode ?? -1;
    },
  };
}

/** Arguments that lead curl through a program and make it trust the program's CA. */
export function throughProxy({ proxyUrl, caFile }: Pick<Program, "proxyUrl" | "caFile">): string[] {
  return ["--proxy", proxyUrl, "--cacert", caFile];
}

const STATUS_MARK = "\n--status--";

/** Runs curl to its end; gives the status beside the body. */
export async function runCurl(args: readonly string[], input?: Buffer | string): Promise<CurlAnswer> {
  const curl = startCurl(["--write-out", `${STATUS_MARK}%{http_code}`, ...args], input);
  const exitCode = await curl.ended();
  const output = curl.body;
  const mark = output.lastIndexOf(STATUS_MARK);
  return { exitCode, status: Number(output.subarray(mark + STATUS_MARK.length).toString()), body: output.subarray(0, mark), stderr: curl.stderr };
}
