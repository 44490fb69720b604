/** `tallyman ca`: the certificate authority that clients have to trust. */

import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";

import { type CertificateAuthority, loadOrCreateAuthority, rotateAuthority } from "../proxy/certificate-authority.ts";
import { prepareTrust } from "./ca-bundle.ts";
import { type CommandContext, EXIT } from "./context.ts";
import { trustInput } from "./env.ts";

export type ExportFormat = "pem" | "der";

/** Prints the absolute path of ca.pem; makes the authority if there is none, as every command here does. */
export async function caPath(context: CommandContext): Promise<number> {
  context.stdout.write(`${(await open(context)).certificatePath}\n`);
  return EXIT.done;
}

/** Prints the SHA-256 fingerprint. */
export async function caFingerprint(context: CommandContext): Promise<number> {
  context.stdout.write(`${(await open(context)).fingerprint256}\n`);
  return EXIT.done;
}

/** Prints what the certificate says and how each system is made to trust it. */
export async function caShow(context: CommandContext): Promise<number> {
  context.stdout.write(description(await open(context)));
  return EXIT.done;
}

/** Writes the certificate, never the key, to a file or to stdout. */
export async function caExport(context: CommandContext, file: string | undefined, format: ExportFormat): Promise<number> {
  const { certificatePem } = await open(context);
  const content = format === "der" ? new X509Certificate(certificatePem).raw : certificatePem;
  if (file === undefined) {
    context.stdout.write(content);
    return EXIT.done;
  }
  const path = resolve(context.cwd, file);
  writeFileSync(path, content);
  context.stderr.write(`tallyman: wrote ${path}\n`);
  return EXIT.done;
}

/** Replaces the authority and brings the bundle of `tallyman env` up to date. */
export async function caRotate(context: CommandContext): Promise<number> {
  const authority = await rotateAuthority(context.settings.caDir);
  prepareTrust(trustInput(context, authority));
  context.stdout.write(`${authority.fingerprint256}\n`);
  context.stderr.write(
    "tallyman: the authority is new. Restart every running tallyman, evaluate `tallyman env` again in open shells, and where the old\n" +
      "certificate was put into a trust store, take it out and put the new one in (`tallyman ca show` prints how).\n",
  );
  return EXIT.done;
}

function open(context: CommandContext): Promise<CertificateAuthority> {
  return loadOrCreateAuthority(context.settings.caDir);
}

function description({ certificatePem, certificatePath, fingerprint256 }: CertificateAuthority): string {
  const certificate = new X509Certificate(certificatePem);
  const file = quoted(certificatePath);
  return `file         ${certificatePath}
subject      ${certificate.subject.replaceAll("\n", ", ")}
valid from   ${new Date(certificate.validFrom).toISOString()}
valid until  ${new Date(certificate.validTo).toISOString()}
SHA-256      ${fingerprint256}

Programs started with \`tallyman run\` or with the variables of \`tallyman env\` trust it already.
To trust it in the whole system:
  Debian, Ubuntu, Alpine  sudo cp ${file} /usr/local/share/ca-certificates/tallyman.crt && sudo update-ca-certificates
  Fedora, RHEL, Arch      sudo trust anchor --store ${file}
  macOS                   sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${file}
  Windows                 certutil -addstore -f Root ${file}
  Firefox, Chrome (Linux) certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n tallyman -i ${file}
`;
}

/** Only paths that need it, so that the usual one reads well. */
function quoted(path: string): string {
  return /^[\w./:\\-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
