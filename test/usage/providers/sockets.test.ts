import { handlers } from "../../../src/usage/providers/index.ts";
import { describeSocketContract } from "../../support/socket-contract.ts";

describeSocketContract("openai", handlers);
describeSocketContract("openai-compatible", handlers);
describeSocketContract("gemini", handlers);
describeSocketContract("vertex", handlers);
describeSocketContract("codex", handlers);
