/** `npm run chaos -- [--rounds N] [--seed N]`: prints the figures of docs/reliability.md. Exit code 1 when a property broke. */

import { parseArgs } from "node:util";

import { runChaos } from "./chaos.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "200" }, seed: { type: "string", default: "1" } } });
const write = (line: string): void => void process.stdout.write(`${line}\n`);

const { faults, ...figures } = await runChaos({ rounds: Number(values.rounds), seed: Number(values.seed), log: write });
write("");
for (const [name, figure] of Object.entries(figures)) write(`${name.padEnd(12)}${String(figure).padStart(8)}`);
for (const fault of faults.slice(0, 50)) write(`BROKEN: ${fault}`);
write(faults.length === 0 ? "every property held" : `${faults.length} breaches`);
process.exitCode = faults.length === 0 ? 0 : 1;
