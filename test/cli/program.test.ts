import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { wrappedCommand } from "../../src/cli/program.ts";
import { packageVersion } from "../../src/version.ts";
import { type Outcome, runInProcess } from "./in-process.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tallyman-cli-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function tallyman(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  return runInProcess(args, { cwd: dir, env: { TALLYMAN_CA_DIR: "certs", TALLYMAN_DATA_DIR: "data", ...env } });
}

const COMMANDS = [[], ["serve"], ["run"], ["demo"], ["env"], ["config"], ["ca"], ["ca", "path"], ["ca", "export"], ["usage"], ["events"]];

describe("the command line", () => {
  it.each(COMMANDS)("has help and a version: %s %s", async (...command) => {
    const help = await tallyman([...command, "--help"]);
    expect([help.code, help.stderr]).toEqual([0, ""]);
    expect(help.stdout).toMatch(new RegExp(`^Usage: ${["tallyman", ...command].join(" ")} `));
    const version = await tallyman([...command, "--version"]);
    expect(version).toMatchObject({ code: 0, stdout: `${packageVersion()}\n` });
  });

  it.each([
    [["sevre"], "unknown command 'sevre'\nThe nearest is serve."],
    [["evnts", "--json"], "unknown command 'evnts'\nThe nearest is events."],
    [["--versoin"], "unknown option '--versoin'\nThe nearest is --version."],
    [["usage", "--jsn"], "unknown option '--jsn'\nThe nearest is --json."],
    [["usage", "--sinse=7d"], "unknown option '--sinse=7d'\nThe nearest is --since."],
    [["ca", "exprot"], "unknown command 'exprot'\nThe nearest is export."],
    [["serve", "--webhook-url", "x"], "unknown option '--webhook-url'\nSettings are environment variables: set TALLYMAN_WEBHOOK_URL."],
    [["run"], "missing required argument 'cmd'"],
    [["run", "--"], "missing required argument 'cmd'"],
    [["run", "--jsn", "x"], "unknown option '--jsn'"],
    [["serve", "now"], "too many arguments for 'serve'"],
    [["usage", "--by", "week"], "Allowed choices are model, provider, connector, agent, thread, org, user, day, hour."],
    [["usage", "--since", "yesterday"], "argument 'yesterday' is invalid. Allowed is a span back from now"],
    [["usage", "--json", "--csv"], "cannot be used with"],
    [["events", "--limit", "0"], "Allowed is a whole number from 1 to 100000."],
    [["env", "--shell", "tcsh"], "Allowed choices are sh, fish, powershell, dotenv, docker."],
    [["env", "--proxy-url", "socks5://127.0.0.1:1080"], "--proxy-url wants http://host:port"],
  ])("refuses %j with exit code 2 and says what is right", async (args, message) => {
    const { code, stdout, stderr } = await tallyman(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/^tallyman: /);
  });

  it("stops at wrong settings with exit code 2 and every fault", async () => {
    const { code, stderr } = await tallyman(["config"], { TALLYMAN_PORT: "x", TALLYMAN_RETENTION: "y" });
    expect(code).toBe(2);
    expect(stderr).toMatch(/2 settings are wrong[\s\S]*TALLYMAN_PORT is "x"[\s\S]*TALLYMAN_RETENTION is "y"/);
  });

  it("names an unknown setting beside wrong ones: it may be what was meant", async () => {
    const { code, stderr } = await tallyman(["serve"], { TALLYMAN_PORT: "x", TALLYMAN_RETENTON: "1d" });
    expect(code).toBe(2);
    expect(stderr).toMatch(/the nearest is TALLYMAN_RETENTION[\s\S]*1 setting is wrong/);
  });

  it("warns of an unknown setting and goes on", async () => {
    const { code, stderr } = await tallyman(["config"], { TALLYMAN_PROT: "1" });
    expect([code, stderr]).toEqual([0, "tallyman: warning: TALLYMAN_PROT is not a setting and is ignored; the nearest is TALLYMAN_PORT.\n"]);
  });
});

describe("wrappedCommand", () => {
  it.each<[readonly string[], readonly string[] | undefined]>([
    [["run", "--", "npm", "test", "--", "--watch"], ["npm", "test", "--", "--watch"]],
    [["run", "--", "--help"], ["--help"]],
    [["run", "--", "--", "x"], ["--", "x"]],
    [["run", "claude", "--help", "-p", "--"], ["claude", "--help", "-p", "--"]],
    [["run", "--help"], undefined],
    [["run"], undefined],
    [["run", "--"], undefined],
    [["usage", "run"], undefined],
    [[], undefined],
  ])("takes out of %j what is to be run", (argv, expected) => {
    expect(wrappedCommand(argv)).toEqual(expected);
  });
});

describe("tallyman config", () => {
  it("shows values and where they came from", async () => {
    const { stdout } = await tallyman(["config"], { TALLYMAN_PORT: "0", TALLYMAN_ADMIN_TOKEN: "hunter2" });
    expect(stdout).toMatch(/^setting +from +value\n/);
    expect(stdout).toMatch(/^TALLYMAN_PORT +environment +0$/m);
    expect(stdout).toMatch(/^TALLYMAN_ADMIN_TOKEN +environment +set \(redacted\)$/m);
    expect(stdout).toContain(join(dir, "data"));
  });

  it("prints JSON for programs", async () => {
    const { stdout } = await tallyman(["config", "--json"], { TALLYMAN_WEBHOOK_TIMEOUT: "2000ms", TALLYMAN_ADMIN_TOKEN: "hunter2", TALLYMAN_X: "1" });
    expect(stdout).not.toContain("hunter2");
    expect(JSON.parse(stdout)).toMatchObject({
      settings: {
        TALLYMAN_WEBHOOK_TIMEOUT: { value: "2s", origin: "environment" },
        TALLYMAN_ADMIN_TOKEN: { value: "set (redacted)", origin: "environment" },
        TALLYMAN_WEBHOOK_URL: { value: null, origin: "default" },
      },
      warnings: [expect.stringContaining("TALLYMAN_X")],
    });
  });
});

describe("tallyman ca", () => {
  it("makes the authority once and tells of it", async () => {
    const path = (await tallyman(["ca", "path"])).stdout;
    expect(path).toBe(`${join(dir, "certs", "ca.pem")}\n`);
    const pem = (await tallyman(["ca", "export"])).stdout;
    const { fingerprint256 } = new X509Certificate(pem);
    expect((await tallyman(["ca", "fingerprint"])).stdout).toBe(`${fingerprint256}\n`);
    const shown = (await tallyman(["ca", "show"])).stdout;
    expect(shown).toContain(fingerprint256);
    for (const command of ["update-ca-certificates", "trust anchor", "security add-trusted-cert", "certutil"]) expect(shown).toContain(command);
    expect(new X509Certificate((await tallyman(["ca", "export", "--format", "der"])).bytes).fingerprint256).toBe(fingerprint256);
    const file = await tallyman(["ca", "export", "out.pem"]);
    expect(file).toMatchObject({ code: 0, stdout: "" });
    expect(new X509Certificate(readText(join(dir, "out.pem"))).fingerprint256).toBe(fingerprint256);
    expect(pem).not.toContain("PRIVATE KEY");
  });

  it("rotates, and brings the bundle up to date", async () => {
    await tallyman(["env"]);
    const before = (await tallyman(["ca", "fingerprint"])).stdout;
    const rotated = await tallyman(["ca", "rotate"]);
    expect(rotated.stderr).toContain("Restart every running tallyman");
    expect(rotated.stdout).not.toBe(before);
    expect((await tallyman(["ca", "fingerprint"])).stdout).toBe(rotated.stdout);
    const pem = (await tallyman(["ca", "export"])).stdout;
    expect(readText(join(dir, "certs", "ca-bundle.pem"))).toContain(pem.trim());
  });

  it("fails with exit code 1 and the reason when the files cannot be used", async () => {
    writeFileSync(join(dir, "certs"), "a file where a directory should be");
    const { code, stdout, stderr } = await tallyman(["ca", "path"]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/^tallyman: /);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe("tallyman env", () => {
  it("points at the proxy of the settings and at files that exist", async () => {
    const { code, stdout, stderr } = await tallyman(["env"], { TALLYMAN_PORT: "8123", NO_PROXY: "corp.example" });
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain("export HTTPS_PROXY='http://127.0.0.1:8123'\n");
    expect(stdout).toContain("export NO_PROXY='corp.example,localhost,127.0.0.1,::1'\n");
    expect(stdout).toContain(`export NODE_EXTRA_CA_CERTS='${join(dir, "certs", "ca.pem")}'\n`);
    expect(readText(join(dir, "certs", "ca-bundle.pem"))).toContain("BEGIN CERTIFICATE");
  });

  it.each([
    [{ TALLYMAN_HOST: "0.0.0.0" }, "http://127.0.0.1:8080"],
    [{ TALLYMAN_HOST: "::" }, "http://[::1]:8080"],
    [{ TALLYMAN_HOST: "10.0.0.5" }, "http://10.0.0.5:8080"],
  ])("names an address that can be reached: %j", async (env, url) => {
    const { stdout } = await tallyman(["env", "--shell", "docker"], { ...env, TALLYMAN_ALLOW_OPEN_PROXY: "true" });
    expect(stdout).toContain(`HTTP_PROXY=${url}\n`);
  });

  it("asks for the address when the port is any free one", async () => {
    const { code, stderr } = await tallyman(["env"], { TALLYMAN_PORT: "0" });
    expect([code, stderr]).toEqual([2, "tallyman: TALLYMAN_PORT is 0 (any free port): give the proxy's address with --proxy-url\n"]);
    expect((await tallyman(["env", "--proxy-url", "http://a:b@127.0.0.1:9/"], { TALLYMAN_PORT: "0" })).stdout).toContain("'http://a:b@127.0.0.1:9'");
  });

  it("says on stderr that credentials are needed, and never prints a token", async () => {
    const env = { TALLYMAN_PROXY_TOKENS: "hunter2" };
    const { stdout, stderr } = await tallyman(["env"], env);
    expect(stderr).toContain("--proxy-url http://AGENT_ID:SECRET@HOST:PORT");
    expect(stdout + stderr).not.toContain("hunter2");
    expect((await tallyman(["env", "--proxy-url", "http://agent:x@127.0.0.1:8080"], env)).stderr).toBe("");
  });

  it("warns that NO_PROXY=* turns the proxy off, and tells docker what to mount", async () => {
    expect((await tallyman(["env"], { no_proxy: "*" })).stderr).toContain("NO_PROXY is set to *");
    const pem = join(dir, "certs", "ca.pem");
    expect((await tallyman(["env", "--shell", "docker"])).stderr).toContain(`--volume '${pem}:${pem}:ro'`);
  });
});

function readText(file: string): string {
  return readFileSync(file, "utf8");
}
