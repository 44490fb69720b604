#!/usr/bin/env node
/** argv → command → exit code. The version is checked before anything is imported that an older Node cannot load. */

const REQUIRED_MAJOR = 24;

if (Number(process.versions.node.split(".")[0]) < REQUIRED_MAJOR) {
  process.stderr.write(
    `tallyman needs Node ${REQUIRED_MAJOR} or newer; this is v${process.versions.node}. Run it with \`npm start\`, which brings its own, or install Node ${REQUIRED_MAJOR}.\n`,
  );
  process.exitCode = 2;
} else {
  const { runProcess } = await import("./cli/process.ts");
  await runProcess();
}
