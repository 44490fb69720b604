/**
 * OpenAI: api.openai.com and its data-residency hosts (reference/model-usage.md sections 5.2, 5.3, 5.6). Also what an
 * operator binds a self-hosted gateway to, whose counts are then read as those of an unknown server.
 */

import { hostMatches } from "../../flow/route.ts";
import type { Handler } from "../handler.ts";
import { openAiErrorBody } from "./protocols/error-body.ts";
import type { OpenAiDialect } from "./protocols/openai-dialect.ts";
import { openOpenAiExchange } from "./protocols/openai-endpoints.ts";

const HOSTS = ["api.openai.com", "*.api.openai.com"];

const OPENAI: OpenAiDialect = {
  id: "openai",
  chatReasoning: "inside",
  responsesReasoning: "inside",
  isOpenAi: true,
  hasMessages: false,
  hasAsyncChat: false,
};

const GATEWAY: OpenAiDialect = { ...OPENAI, chatReasoning: "by_total", responsesReasoning: "by_total", isOpenAi: false, hasMessages: true };

export const openai: Handler = {
  id: "openai",
  kind: "model",
  hosts: HOSTS,
  open(exchange, context) {
    const isOwnHost = HOSTS.some((pattern) => hostMatches(pattern, exchange.host, exchange.port));
    return openOpenAiExchange(exchange, context, isOwnHost ? OPENAI : GATEWAY);
  },
  recognizes: ({ protocol, method, path }) => (protocol === "websocket" ? SOCKET_PATH.test(path) : method === "POST" && KNOWN_PATH.test(path)),
  errorBody: openAiErrorBody,
};

/** Paths that hardly anything else has: a shorter end, such as /responses, is other APIs' too. */
const KNOWN_PATH = /\/(?:chat\/completions|v1\/(?:completions|responses|responses\/compact|embeddings|images\/(?:generations|edits)|audio\/(?:transcriptions|translations|speech)))\/?$/;
const SOCKET_PATH = /\/v1\/(?:responses|realtime)\/?$/;
