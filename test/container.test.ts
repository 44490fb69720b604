import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdtempSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { environmentOf, execForm, parseDockerfile, textsOf, type Stage } from "./support/dockerfile.ts";
import { buildStage, copyContext, copyNode, finished, hostEnvironment, ownedFolder, setWritable, UNPRIVILEGED } from "./support/image-build.ts";
import { until } from "./support/until.ts";

const PROJECT = resolve(import.meta.dirname, "..");
const read = (name: string): string => readFileSync(join(PROJECT, name), "utf8");

const [buildStageOf, image] = stages();

function stages(): [Stage, Stage] {
  const [first, last, ...others] = parseDockerfile(read("Dockerfile"));
  if (first === undefined || last === undefined || others.length > 0) throw new Error("the Dockerfile has not two stages");
  return [first, last];
}

describe("the Dockerfile", () => {
  it("builds in one stage and ships another, on the Node that the project names", () => {
    const base = `node:${read(".nvmrc").trim()}-bookworm-slim`;
    expect([buildStageOf.from, image.from]).toEqual([base, base]);
    expect(textsOf(image, "COPY").filter((text) => !text.startsWith("--from=build "))).toEqual(["deploy/healthcheck.mjs ./"]);
  });

  it("runs as a user by number that is not root", () => {
    expect(textsOf(image, "USER")).toEqual(["10001:10001"]);
    const owned = textsOf(image, "RUN").join(" ");
    expect(owned).toContain("-o 10001 -g 10001 -m 0700 /var/lib/tallyman");
  });

  it("keeps certificates and ledger in its one volume", () => {
    expect(textsOf(image, "VOLUME")).toEqual(["/var/lib/tallyman"]);
    expect(environmentOf(image)).toMatchObject({
      TALLYMAN_CA_DIR: "/var/lib/tallyman/certs",
      TALLYMAN_DATA_DIR: "/var/lib/tallyman/data",
      TALLYMAN_HOST: "0.0.0.0",
      TALLYMAN_ADMIN_HOST: "127.0.0.1",
    });
  });

  it("starts node itself, so that SIGTERM reaches it, and checks health without a shell", () => {
    expect(execForm(textsOf(image, "ENTRYPOINT")[0] ?? "")).toEqual(["node", "/app/dist/main.js"]);
    expect(execForm(textsOf(image, "CMD")[0] ?? "")).toEqual(["serve"]);
    expect(healthCommand()).toEqual(["node", "/app/healthcheck.mjs"]);
    expect(textsOf(image, "EXPOSE")).toEqual(["8080"]);
  });

  it("lets nothing into the build but what it names", () => {
    const rules = read(".dockerignore").split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    expect(rules[0]).toBe("*");
    expect(rules.slice(1).every((rule) => /^![a-z]/.test(rule))).toBe(true);
    expect(rules.join(" ")).not.toMatch(/certs|data|\.env|\.git|node_modules/);
  });
});

function healthCommand(): string[] {
  const text = textsOf(image, "HEALTHCHECK")[0] ?? "";
  return execForm(text.slice(text.indexOf("[")));
}

const serviceShape = z.object({
  image: z.string().optional(),
  build: z.string().optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  volumes: z.array(z.string()).default([]),
  networks: z.array(z.string()).default([]),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  read_only: z.boolean().default(false),
  tmpfs: z.array(z.string()).default([]),
  cap_drop: z.array(z.string()).default([]),
  security_opt: z.array(z.string()).default([]),
  healthcheck: z.object({ test: z.array(z.string()).optional(), disable: z.boolean().optional() }).optional(),
  stop_grace_period: z.string().optional(),
});
const composeShape = z.object({
  services: z.object({ tallyman: serviceShape, ca: serviceShape, agent: serviceShape, receiver: serviceShape }),
  networks: z.record(z.string(), z.object({ internal: z.boolean() }).nullable()),
  volumes: z.record(z.string(), z.unknown()),
});

const compose = composeShape.parse(parse(read("docker-compose.yml")));

describe("docker-compose.yml", () => {
  const { tallyman, ca, agent, receiver } = compose.services;

  it("gives the sidecar a read-only root, no capability, no new privilege, and its volume", () => {
    for (const service of [tallyman, ca, receiver]) {
      expect(service).toMatchObject({ read_only: true, cap_drop: ["ALL"], security_opt: ["no-new-privileges:true"] });
    }
    expect(tallyman.tmpfs[0]).toMatch(/^\/tmp:/);
    expect(tallyman.volumes).toEqual(["state:/var/lib/tallyman"]);
    expect(tallyman.healthcheck?.test).toEqual(["CMD", ...healthCommand()]);
  });

  it("asks for the secrets, and has none of its own", () => {
    for (const value of [tallyman.environment["TALLYMAN_PROXY_TOKENS"], tallyman.environment["TALLYMAN_WEBHOOK_SECRET"]]) {
      expect(value).toMatch(/^\$\{[A-Z_]+:\?.+\}$/);
    }
    expect(tallyman.environment).not.toHaveProperty("TALLYMAN_ALLOW_OPEN_PROXY");
  });

  it("leaves a drain the time it takes", () => {
    expect(Number.parseInt(tallyman.stop_grace_period ?? "", 10)).toBeGreaterThan(30);
  });

  it("leads the agent's traffic through the sidecar, which is its only way out", () => {
    for (const name of ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"]) {
      expect(agent.environment[name]).toMatch(/^http:\/\/agent-1:\$\{TALLYMAN_PROXY_TOKEN:\?\}@tallyman:8080$/);
    }
    expect(agent.environment).toMatchObject({ NODE_USE_ENV_PROXY: "1", NODE_EXTRA_CA_CERTS: "/ca/ca.pem" });
    expect(agent.networks.map((name) => compose.networks[name]?.internal)).toEqual([true]);
    expect(tallyman.networks).toEqual(expect.arrayContaining([...agent.networks, ...receiver.networks]));
    expect(tallyman.networks.some((name) => compose.networks[name] === null)).toBe(true);
  });

  it("shows the agent the public certificate, read-only, and never the volume that holds the key", () => {
    expect(agent.volumes.filter((volume) => !volume.startsWith("./"))).toEqual(["ca:/ca:ro"]);
    expect(ca.command).toEqual(["ca", "export", "/ca/ca.pem"]);
    expect(ca.volumes).toEqual(["state:/var/lib/tallyman:ro", "ca:/ca"]);
    expect(agent.depends_on).toMatchObject({ ca: { condition: "service_completed_successfully" }, tallyman: { condition: "service_healthy" } });
    expect(ca.depends_on).toEqual({ tallyman: { condition: "service_healthy" } });
  });

  it("mounts only files that exist, and declares what it mounts", () => {
    const mounts = [tallyman, ca, agent, receiver].flatMap((service) => service.volumes).map((volume) => volume.split(":")[0] ?? "");
    const known = mounts.filter((mount) => (mount.startsWith("./") ? existsSync(join(PROJECT, mount)) : mount in compose.volumes));
    expect(known).toEqual(mounts);
    expect(mounts).toContain("./deploy/receiver.mjs");
  });
});

describe("the image, built and run without an engine by an unprivileged user", () => {
  let root = "";
  let app = "";
  let volume = "";
  let host: Record<string, string> = {};

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), "image-"));
    chmodSync(root, 0o755);
    const nodeFolder = join(root, "bin");
    copyNode(nodeFolder);
    host = hostEnvironment(nodeFolder, ownedFolder(join(root, "home")));
    const context = join(root, "context");
    copyContext(context);
    const build = ownedFolder(join(root, "build"));
    await buildStage(buildStageOf, build, { context, stages: new Map() }, host);
    app = join(root, "app");
    mkdirSync(app);
    await buildStage(image, app, { context, stages: new Map([["build", build]]) }, undefined);
    setWritable(app, false);
    volume = ownedFolder(join(root, "volume"));
  }, 240_000);

  afterAll(() => {
    if (app !== "") setWritable(app, true);
    rmSync(root, { recursive: true, force: true });
  });

  /** Starts a command of the image with its own ENV, its absolute paths led to the folders that stand for them. */
  function launch(command: readonly string[], env: Readonly<Record<string, string>>): ChildProcess {
    const place = (text: string): string => text.replace(/^\/app\b/, app).replace(/^\/var\/lib\/tallyman\b/, volume);
    const [file = "", ...args] = command.map(place);
    const own = Object.fromEntries(Object.entries(environmentOf(image)).map(([name, value]) => [name, place(value)]));
    const { PATH, HOME } = host;
    return spawn(file, args, { cwd: app, env: { PATH, HOME, ...own, ...env }, ...UNPRIVILEGED, stdio: ["ignore", "pipe", "pipe"] });
  }

  /** Runs what the compose file's `ca` service runs, and reads what an agent would. */
  async function exportedCertificate(): Promise<string> {
    const folder = ownedFolder(join(root, "ca"));
    const command = (compose.services.ca.command ?? []).map((word) => word.replace(/^\/ca\b/, folder));
    const { code, output } = await finished(launch([...execForm(textsOf(image, "ENTRYPOINT")[0] ?? ""), ...command], compose.services.ca.environment));
    if (code !== 0) throw new Error(output);
    expect(statSync(join(folder, "ca.pem")).mode & 0o444).toBe(0o444);
    return readFileSync(join(folder, "ca.pem"), "utf8");
  }

  const program = [...execForm(textsOf(image, "ENTRYPOINT")[0] ?? ""), ...execForm(textsOf(image, "CMD")[0] ?? "")];

  it("holds the program and no development package or source", () => {
    expect(readdirSync(app).toSorted()).toEqual(["dist", "healthcheck.mjs", "node_modules", "package.json"]);
    const packages = readdirSync(join(app, "node_modules"));
    expect(packages).toContain("undici");
    for (const name of ["vitest", "typescript", "node", "openai"]) expect(packages).not.toContain(name);
  });

  it("does not start open to everybody", async () => {
    const { code, output } = await finished(launch(program, {}));
    expect(output).toContain("TALLYMAN_PROXY_TOKENS");
    expect(code).toBe(2);
  });

  it("becomes healthy, asks for the secret, writes to the volume only, and ends with 0 on SIGTERM", async () => {
    const [port, adminPort] = [await freePort(), await freePort()];
    const env = { TALLYMAN_PROXY_TOKENS: "a-secret-of-this-test", TALLYMAN_PORT: String(port), TALLYMAN_ADMIN_PORT: String(adminPort) };
    const child = launch(program, env);
    const ended = finished(child);
    try {
      await until(async () => {
        if (child.exitCode !== null) throw new Error(`it ended: ${(await ended).output}`);
        return (await finished(launch(healthCommand(), env))).code === 0;
      }, "the health check", 60_000);
      expect(await connectAnswer(port)).toMatch(/^HTTP\/1\.1 407 /);
      expect(readdirSync(volume).toSorted()).toEqual(["certs", "data"]);
      expect(statSync(join(volume, "certs/ca.key")).mode & 0o777).toBe(0o600);
      expect(await exportedCertificate()).toBe(readFileSync(join(volume, "certs/ca.pem"), "utf8"));
    } finally {
      child.kill("SIGTERM");
    }
    expect(await ended).toMatchObject({ code: 0 });
    expect((await finished(launch(healthCommand(), env))).code).toBe(1);
  }, 120_000);
});

async function connectAnswer(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.end("CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n");
  let text = "";
  for await (const data of socket) text += String(data);
  return text;
}

function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
