/** The package's version. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

import { PACKAGE_ROOT } from "./config/paths.ts";

const manifest = z.object({ version: z.string() });

/** From package.json, which stands beside `src/` and beside `dist/`. */
export function packageVersion(): string {
  return manifest.parse(JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"))).version;
}
