/**
 * Checks src/ against the import rules of .dependency-cruiser.mjs. `node scripts/check-imports.ts [ROOT]`: exit 0 when
 * every rule holds, 1 when one is broken or when no module was read (a cruiser whose TypeScript is missing or too new
 * reads nothing and finds nothing wrong).
 */

import { cruise, type ICruiseResult, type IViolation } from "dependency-cruiser";
import extractDepcruiseConfig from "dependency-cruiser/config-utl/extract-depcruise-config";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";

const PROJECT = resolve(import.meta.dirname, "..");

/** What a cruise found. `unread` are source files under src/ that the cruiser did not take in. */
interface Report {
  readonly modules: number;
  readonly imports: number;
  readonly unread: readonly string[];
  readonly violations: readonly IViolation[];
  /** The sentence of each rule, by its name. */
  readonly sentences: ReadonlyMap<string, string>;
}

async function checkImports(root: string): Promise<Report> {
  const config = await extractDepcruiseConfig(join(PROJECT, ".dependency-cruiser.mjs"));
  const rules = config.forbidden ?? [];
  const { output } = await cruise(
    ["src"],
    { ...config.options, baseDir: root, validate: true, ruleSet: { forbidden: rules } },
    config.options?.enhancedResolveOptions ?? {},
  );
  if (typeof output === "string") throw new Error("dependency-cruiser gave text where a result was asked for");
  const own = output.modules.filter((module) => module.source.startsWith("src/"));
  return {
    modules: own.length,
    imports: own.reduce((sum, module) => sum + module.dependencies.length, 0),
    unread: unreadFiles(root, output),
    violations: output.summary.violations,
    sentences: new Map(rules.map((rule) => [rule.name ?? "", rule.comment ?? ""])),
  };
}

function unreadFiles(root: string, result: ICruiseResult): string[] {
  if (!existsSync(join(root, "src"))) return [];
  const read = new Set(result.modules.map((module) => module.source));
  return readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `src/${name}`)
    .filter((name) => !read.has(name));
}

function print(report: Report): void {
  for (const { rule, from, to, cycle } of report.violations) {
    const way = cycle === undefined ? to : cycle.map((step) => step.name).join(" → ");
    console.error(`${rule.name}: ${from} → ${way}\n  ${report.sentences.get(rule.name) ?? ""}`);
  }
  for (const name of report.unread) console.error(`unread: ${name}\n  The cruiser passed this file over, so no rule was applied to it.`);
  if (report.modules === 0) console.error("no module was cruised: nothing is under src/, or the cruiser cannot read this TypeScript");
}

const root = resolve(process.argv[2] ?? PROJECT);
const report = await checkImports(root);
print(report);
const isBroken = report.violations.length > 0 || report.unread.length > 0 || report.modules === 0;
console.log(`${report.modules} modules, ${report.imports} imports, ${report.sentences.size} rules, ${report.violations.length} violations`);
process.exitCode = isBroken ? 1 : 0;
