/**
 * Which file may import which: docs/architecture.md as rules. `npm run rules` (scripts/check-imports.ts) applies them
 * to src/; each rule's `comment` is the sentence that a violation prints. Paths are relative to the project root.
 */

/** Node's modules that touch the outside: files, sockets, processes, threads. */
const IO_MODULES =
  "^(node:)?(fs|net|http|https|http2|tls|dgram|dns|child_process|cluster|worker_threads|sqlite|inspector|readline|repl)(/|$)";

/** Matches an npm package whether or not it was resolved to a file. */
const npmPackage = (name) => `(^|node_modules/)${name}(/|$)`;

const IO = [IO_MODULES, npmPackage("(undici|http-mitm-proxy|pino)")];

/** A provider: a file of providers/ or connectors/ that stands for one vendor. */
const PROVIDERS = "^src/usage/providers/";

/** Files under providers/ that are no provider: the list, shared protocol readers, the declarative connector's machinery. */
const NOT_A_PROVIDER = [
  "^src/usage/providers/index\\.ts$",
  "^src/usage/providers/protocols/",
  "^src/usage/providers/connectors/(definition|mcp)\\.ts$",
  "^src/usage/providers/connectors/interpreter/",
];

const layers = [
  {
    name: "flow-is-the-bottom",
    comment: "flow/ is the shared vocabulary: it imports nothing of the rest of the program.",
    from: { path: "^src/flow/" },
    to: { path: "^src/", pathNot: "^src/flow/" },
  },
  {
    name: "proxy-knows-no-usage",
    comment: "proxy/ relays bytes and knows no usage, no store and nothing above it: it speaks flow/, and app.ts joins the two.",
    from: { path: "^src/proxy/" },
    to: { path: "^src/(usage|store|admin|cli|app[./]|index\\.ts|main\\.ts)" },
  },
  {
    name: "usage-knows-no-proxy",
    comment: "usage/ reads bytes and knows no socket of the proxy and nothing above it: it speaks flow/, and app.ts joins the two.",
    from: { path: "^src/usage/" },
    to: { path: "^src/(proxy|admin|cli|app[./]|index\\.ts|main\\.ts)" },
  },
  {
    name: "store-is-below-usage",
    comment: "store/ keeps frozen records and does not know how they were counted: it imports neither usage/ nor proxy/ nor anything above them.",
    from: { path: "^src/store/" },
    to: { path: "^src/(usage|proxy|admin|cli|app[./]|index\\.ts|main\\.ts)" },
  },
  {
    name: "config-is-below-its-readers",
    comment: "config/ describes the settings and does not know who reads them.",
    from: { path: "^src/config/" },
    to: { path: "^src/(usage|proxy|store|admin|cli|app[./]|index\\.ts|main\\.ts)" },
  },
  {
    name: "admin-is-not-the-program",
    comment: "admin/ is given what it shows: it imports neither the composition root nor a command.",
    from: { path: "^src/admin/" },
    to: { path: "^src/(cli/|app[./]|index\\.ts|main\\.ts)" },
  },
  {
    name: "app-knows-no-command",
    comment: "app.ts joins the parts and index.ts shows them to embedders: neither knows the command line.",
    from: { path: "^src/(app/|(app|index)\\.ts$)" },
    to: { path: "^src/(cli/|main\\.ts)" },
  },
  {
    name: "main-is-the-top",
    comment: "main.ts starts the program: nothing imports it.",
    from: { path: "^src/" },
    to: { path: "^src/main\\.ts$" },
  },
];

const soleImporters = [
  {
    name: "sqlite-only-in-database",
    comment: "store/database.ts is the only import of node:sqlite: its class is being renamed, and it belongs in a worker thread.",
    from: { path: "^src/", pathNot: "^src/store/database\\.ts$" },
    to: { path: "^(node:)?sqlite$" },
  },
  {
    name: "mitm-library-only-in-front",
    comment: "proxy/front.ts is the only import of http-mitm-proxy: the rest of that library must not be reached (docs/decisions/0001).",
    from: { path: "^src/", pathNot: "^src/proxy/front\\.ts$" },
    to: { path: npmPackage("http-mitm-proxy") },
  },
  {
    name: "no-provider-but-by-the-list",
    comment: "Nobody imports a provider but providers/index.ts: a provider is one file and one line in that list.",
    from: { path: "^src/", pathNot: PROVIDERS },
    to: { path: PROVIDERS, pathNot: NOT_A_PROVIDER },
  },
  {
    name: "provider-imports-no-provider",
    comment: "A provider imports no other provider, only its own files (its folder, or its NAME-routes.ts); what two providers share is in providers/protocols/.",
    from: { path: `${PROVIDERS}((?:connectors/)?[^/.]+)`, pathNot: NOT_A_PROVIDER },
    to: { path: PROVIDERS, pathNot: [...NOT_A_PROVIDER.slice(1), `${PROVIDERS}$1/`, `${PROVIDERS}$1-routes\\.ts$`] },
  },
  {
    name: "protocols-know-no-vendor",
    comment: "Shared protocol readers and the connector machinery know no provider and not the list of them.",
    from: { path: NOT_A_PROVIDER.slice(1) },
    to: { path: PROVIDERS, pathNot: NOT_A_PROVIDER.slice(1) },
  },
];

const purity = [
  {
    name: "flow-does-no-io",
    comment: "flow/ is pure: no files, sockets, processes or threads.",
    from: { path: "^src/flow/" },
    to: { path: IO },
  },
  {
    name: "extract-does-no-io",
    comment: "extract/ turns bytes into values: no files, sockets, processes or threads.",
    from: { path: "^src/usage/extract/" },
    to: { path: IO },
  },
  {
    name: "extract-knows-no-vendor",
    comment: "extract/ reads wire formats by protocol: it imports only extract/ and flow/, and no provider.",
    from: { path: "^src/usage/extract/" },
    to: { path: "^src/", pathNot: "^src/(flow|usage/extract)/" },
  },
  {
    name: "providers-do-no-io",
    comment: "A provider is pure, so that a fixture is all it takes to test it: no files, sockets, processes or threads.",
    from: { path: PROVIDERS },
    to: { path: IO },
  },
  {
    name: "providers-know-no-pipeline",
    comment: "A provider sees the handler contract, the categories, extract/ and estimate/, never the meter, the events, prices, budgets or delivery.",
    from: { path: PROVIDERS },
    to: {
      path: "^src/",
      pathNot: ["^src/flow/", "^src/usage/(extract|estimate|providers)/", "^src/usage/(handler|categories)\\.ts$"],
    },
  },
  {
    name: "pricing-does-no-io",
    comment: "pricing/ looks prices up in tables that it is given: no files, sockets, processes or threads.",
    from: { path: "^src/usage/pricing/" },
    to: { path: IO },
  },
];

const hygiene = [
  {
    name: "no-circle",
    comment: "Two files that need each other at run time are one file, or lack a third.",
    from: { path: "^src/" },
    to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
  },
  {
    name: "no-unresolvable",
    comment: "Every import leads somewhere: a file, or a package of package.json.",
    from: { path: "^src/" },
    to: { couldNotResolve: true },
  },
  {
    name: "src-stands-alone",
    comment: "The program does not import its tests, benches or scripts: they are not in the package.",
    from: { path: "^src/" },
    to: { path: "^(test|bench|scripts|deploy)/" },
  },
  {
    name: "no-development-package",
    comment: "The program runs without the development packages; only the demo tries the SDKs, and does without them where they are missing.",
    from: { path: "^src/", pathNot: "^src/cli/demo" },
    to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only"] },
  },
  {
    name: "only-declared-packages",
    comment: "A package that is imported is in package.json itself, not only below another one.",
    from: { path: "^src/" },
    to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
  },
];

/** @type {import("dependency-cruiser").IConfiguration} */
export default {
  forbidden: [...layers, ...soleImporters, ...purity, ...hygiene].map((rule) => ({ severity: "error", ...rule })),
  options: {
    doNotFollow: { path: "node_modules" },
    // Type imports count as well: a type of another layer is knowledge of it.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".mjs", ".js", ".json"],
      mainFields: ["module", "main", "types"],
    },
  },
};
