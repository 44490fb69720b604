/** How the demo looks: a few kinds of lines, in colour on a terminal, plain elsewhere. */

import { styleText } from "node:util";
import type { CallReport } from "./demo-call.ts";
import type { ReceivedEvent } from "./demo-receiver.ts";
import { grouped } from "./table.ts";
import { dollars } from "./usage-table.ts";

export interface DemoScreen {
  title(text: string): void;
  fact(name: string, value: string): void;
  heading(text: string): void;
  /** A call that the agent has just made. */
  call(report: CallReport): void;
  /** The event of a call, or its absence. */
  event(call: CallReport, event: ReceivedEvent | undefined, isMatch: boolean): void;
  /** As it is. */
  text(text: string): void;
  success(text: string): void;
  failure(text: string): void;
}

const CLIENT_WIDTH = 18;
const CALL_WIDTH = 37;
const MODEL_WIDTH = 16;
const NUMBER_WIDTH = 6;
const FACT_WIDTH = 10;

export function createDemoScreen(stdout: NodeJS.WritableStream): DemoScreen {
  const paint = (format: Parameters<typeof styleText>[0], text: string): string => styleText(format, text, { stream: stdout });
  const line = (text = ""): void => void stdout.write(`${text}\n`);
  const mark = (isGood: boolean): string => (isGood ? paint("green", "✓") : paint("red", "✗"));
  return {
    title(text) {
      line(paint("bold", text));
      line();
    },
    fact: (name, value) => line(`  ${paint("dim", name.padEnd(FACT_WIDTH))}${value}`),
    heading(text) {
      line();
      line(text);
      line();
    },
    call({ client, call, model }) {
      line(`  ${paint("cyan", client.padEnd(CLIENT_WIDTH))}${call.padEnd(CALL_WIDTH)}${paint("dim", model)}`);
    },
    event(call, event, isMatch) {
      const counts = event === undefined ? "no event" : `${count(event.inputTokens)} in ${count(event.outputTokens)} out  ${dollars(event.cost).padStart(NUMBER_WIDTH)}`;
      const model = (event?.model ?? call.model).padEnd(MODEL_WIDTH);
      line(`  ${mark(isMatch)} ${(call.responseId ?? "").padEnd(CLIENT_WIDTH)}${model}${counts}`);
    },
    text: (text) => void stdout.write(text.replace(/^(?=.)/gm, "  ")),
    success(text) {
      line();
      line(`${mark(true)} ${text}`);
    },
    failure(text) {
      line();
      line(`${mark(false)} ${text}`);
    },
  };
}

function count(tokens: number): string {
  return grouped(tokens).padStart(NUMBER_WIDTH);
}
