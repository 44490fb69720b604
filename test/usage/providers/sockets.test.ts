import type { Handler } from "../../../src/usage/handler.ts";
import { handlers } from "../../../src/usage/providers/index.ts";
import { openGeminiLive } from "../../../src/usage/providers/protocols/gemini-live.ts";
import { describeSocketContract } from "../../support/socket-contract.ts";

describeSocketContract("openai", handlers);
describeSocketContract("openai-compatible", handlers);

/** Live as both of Google's handlers open it. */
const live: Handler = {
  id: "gemini",
  kind: "model",
  hosts: ["generativelanguage.googleapis.com"],
  open(exchange, context) {
    const opened = openGeminiLive(exchange, context);
    if (opened === undefined) throw new Error("not a socket of Live");
    return opened;
  },
};

describeSocketContract("gemini", [live]);
