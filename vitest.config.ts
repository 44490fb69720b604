/** Test settings: real processes, sockets and files, on machines of two cores. */

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    watch: false,
    // A process a file: worker threads, signals and process.exit behave as they do in the program.
    pool: "forks",
    maxWorkers: 2,
    // Tests wait for conditions, not for time; the bound only ends one that hangs, also on a loaded machine.
    testTimeout: 45_000,
    hookTimeout: 60_000,
    teardownTimeout: 15_000,
    restoreMocks: true,
    unstubEnvs: true,
  },
});
