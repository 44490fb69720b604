/** The list of handlers, in order: of two with the same host the first counts. A provider is one file and one line here. */

import type { Handler } from "../handler.ts";
import { anthropic } from "./anthropic.ts";
import { azure } from "./azure.ts";
import { bedrock } from "./bedrock.ts";
import { codex } from "./codex.ts";
import { cohere } from "./cohere.ts";
import { createGmail } from "./connectors/gmail.ts";
import { createSlack } from "./connectors/slack.ts";
import { createX } from "./connectors/x.ts";
import { gemini } from "./gemini.ts";
import { ollama } from "./ollama.ts";
import { openai } from "./openai.ts";
import { openAiCompatible } from "./openai-compatible.ts";
import { vertex } from "./vertex.ts";

const connectors: readonly Handler[] = [createGmail(), createSlack(), createX()];

export const handlers: readonly Handler[] = [anthropic, openai, azure, codex, gemini, vertex, bedrock, cohere, ollama, ...openAiCompatible, ...connectors];
