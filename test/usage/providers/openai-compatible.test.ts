import { describeHandlerContract } from "../../support/handler-contract.ts";
import { handlers } from "../../../src/usage/providers/index.ts";

describeHandlerContract("openai-compatible", handlers);
