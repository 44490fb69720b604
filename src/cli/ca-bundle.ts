/**
 * Files of trusted certificates for the programs behind the proxy, kept beside the CA. Programs that can only replace their
 * roots need the system's and ours in one file.
 */

import { createHash, randomUUID } from "node:crypto";
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { getCACertificates, rootCertificates } from "node:tls";

import { BUNDLE_VARIABLES } from "./proxy-environment.ts";

export interface TrustInput {
  /** Holds ca.pem; the files are written here. */
  readonly caDir: string;
  readonly certificatePem: string;
  readonly certificatePath: string;
  /** The environment of the program that is to trust us: roots that it names are kept. */
  readonly env: NodeJS.ProcessEnv;
}

export interface TrustFiles {
  /** For NODE_EXTRA_CA_CERTS: ca.pem, or a file of what was named there and ours. */
  readonly caFile: string;
  /** For the variables that replace roots. */
  readonly bundleFile: string;
}

/** Where systems keep their roots as one file: Debian and Alpine, Fedora and RHEL, macOS and the BSDs. */
const SYSTEM_BUNDLES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/**
 * Writes the files that are missing or out of date, each in one step (rename), so that a program that reads one at that
 * moment sees it whole. Throws what the file system throws.
 */
export function prepareTrust(input: TrustInput): TrustFiles {
  return { caFile: nodeExtraFile(input), bundleFile: bundleFile(input) };
}

/** A source of roots: a file, or what the system has. */
type Source = string;
const SYSTEM: Source = "system";

/** `ca-bundle.pem`; with roots named by the environment a name of its own, so that two environments do not fight over one file. */
function bundleFile(input: TrustInput): string {
  const [base = [], ...others] = BUNDLE_VARIABLES.map((name) => namedSources(input, input.env[name]));
  const sources = [...new Set([...(base.length > 0 ? base : [SYSTEM]), ...others.flat()])];
  return writeCertificates(input, sources, isPlain(sources) ? "ca-bundle.pem" : `ca-bundle-${shortHash(sources)}.pem`);
}

function nodeExtraFile(input: TrustInput): string {
  const sources = namedSources(input, input.env["NODE_EXTRA_CA_CERTS"]).filter((source) => source !== SYSTEM);
  return sources.length === 0 ? input.certificatePath : writeCertificates(input, sources, `node-extra-${shortHash(sources)}.pem`);
}

/**
 * The file that a variable names, where it holds certificates. A file of ours stands for what it was made from (a shell in
 * which `tallyman env` was evaluated names it), so that evaluating twice changes nothing.
 */
function namedSources({ caDir, certificatePath }: TrustInput, value: string | undefined): Source[] {
  if (value === undefined || value === "") return [];
  const file = resolve(value);
  if (file === resolve(certificatePath)) return [];
  if (dirname(file) === resolve(caDir)) return recordedSources(file);
  return certificatesIn(file).length > 0 ? [file] : [];
}

/** A file made from other sources than the system's begins with a line for each. */
function recordedSources(file: string): Source[] {
  const recorded = [...readOrEmpty(file).matchAll(/^# from (.+)$/gm)].flatMap((match) => match[1] ?? []);
  return recorded.length > 0 ? recorded : [SYSTEM];
}

function writeCertificates({ caDir, certificatePem }: TrustInput, sources: readonly Source[], name: string): string {
  const origin = isPlain(sources) ? [] : sources.map((source) => `# from ${source}`);
  const roots = sources.flatMap((source) => (source === SYSTEM ? systemRoots() : certificatesIn(source)));
  const ours = certificatePem.match(PEM_CERTIFICATE) ?? [];
  const file = join(caDir, name);
  replaceWhenDifferent(file, [...origin, ...new Set([...roots, ...ours].map((block) => block.trim()))]);
  return file;
}

function isPlain(sources: readonly Source[]): boolean {
  return sources.length === 1 && sources[0] === SYSTEM;
}

function systemRoots(): readonly string[] {
  for (const file of SYSTEM_BUNDLES) {
    const blocks = certificatesIn(file);
    if (blocks.length > 0) return blocks;
  }
  const system = getCACertificates("system");
  return system.length > 0 ? system : rootCertificates;
}

function certificatesIn(file: string): string[] {
  return readOrEmpty(file).match(PEM_CERTIFICATE) ?? [];
}

/** A root file that is gone or unreadable adds nothing: the program that named it could not have read it either. */
function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function replaceWhenDifferent(file: string, parts: readonly string[]): void {
  const content = `${parts.join("\n")}\n`;
  if (readOrEmpty(file) === content) return;
  const temporary = join(dirname(file), `.${basename(file)}.${randomUUID()}`);
  try {
    writeFileSync(temporary, content, { mode: 0o644, flag: "wx" });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function shortHash(names: readonly string[]): string {
  return createHash("sha256").update(names.join("\0")).digest("hex").slice(0, 12);
}
