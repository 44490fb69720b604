import { handlers } from "../../../src/usage/providers/index.ts";
import { describeHandlerContract } from "../../support/handler-contract.ts";

describeHandlerContract("azure", handlers);
