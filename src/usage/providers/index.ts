/** The list of handlers, in order: of two with the same host the first counts. A provider is one file and one line here. */

import type { Handler } from "../handler.ts";
import { anthropic } from "./anthropic.ts";
import { azure } from "./azure.ts";
import { bedrock } from "./bedrock.ts";
import { codex } from "./codex.ts";
import { cohere } from "./cohere.ts";
import { createGmail, type GmailOptions } from "./connectors/gmail.ts";
import { createSlack } from "./connectors/slack.ts";
import { createX, type XOptions } from "./connectors/x.ts";
import { gemini } from "./gemini.ts";
import { ollama } from "./ollama.ts";
import { openai } from "./openai.ts";
import { openAiCompatible } from "./openai-compatible.ts";
import { vertex } from "./vertex.ts";

/** What an operator may choose of single handlers. */
export interface HandlerOptions {
  readonly gmail?: GmailOptions;
  readonly x?: XOptions;
}

/** Throws ConnectorDefinitionError when a connector's table has a fault. */
export function createHandlers({ gmail = {}, x = {} }: HandlerOptions = {}): readonly Handler[] {
  const connectors = [createGmail(gmail), createSlack(), createX(x)];
  return [anthropic, openai, azure, codex, gemini, vertex, bedrock, cohere, ollama, ...openAiCompatible, ...connectors];
}

/** All of them, with nothing chosen. */
export const handlers: readonly Handler[] = createHandlers();
