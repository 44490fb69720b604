/** Where the program stands and where its directories stand by default. */

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve, sep } from "node:path";

/** What the loader needs to know of its surroundings. */
export interface LoadContext {
  /** Absolute. */
  readonly cwd: string;
  /** Whether the program runs from a checkout of its source. */
  readonly isCheckout: boolean;
  readonly homeDir: string;
  /** The package's own directory; this package's unless a test says otherwise. */
  readonly packageRoot?: string;
}

/** The directory of package.json: this file is two below it in `src/` and in `dist/`. */
export const PACKAGE_ROOT = resolve(import.meta.dirname, "..", "..");

/** A checkout has its sources and its build settings, which the package leaves out, and is no dependency of another project. */
export function isCheckout(packageRoot: string = PACKAGE_ROOT): boolean {
  if (packageRoot.split(sep).includes("node_modules")) return false;
  if (!existsSync(join(packageRoot, "package.json")) || !existsSync(join(packageRoot, "src", "main.ts"))) return false;
  return existsSync(join(packageRoot, "tsconfig.json")) || existsSync(join(packageRoot, ".git"));
}

/** The surroundings of this process. */
export function processContext(): LoadContext {
  return { cwd: process.cwd(), isCheckout: isCheckout(), homeDir: homedir() };
}

/**
 * The default of TALLYMAN_CA_DIR or TALLYMAN_DATA_DIR: in the checkout, else below the user's data directory
 * (XDG Base Directory Specification: a relative XDG_DATA_HOME is to be ignored).
 */
export function standardDirectory(name: "certs" | "data", env: NodeJS.ProcessEnv, context: LoadContext): string {
  if (context.isCheckout) return join(context.packageRoot ?? PACKAGE_ROOT, name);
  const xdg = env["XDG_DATA_HOME"] ?? "";
  const dataHome = isAbsolute(xdg) ? xdg : join(context.homeDir, ".local", "share");
  return join(dataHome, "tallyman", name);
}
