import { compileConnectors } from "../../../../src/usage/providers/connectors/interpreter/compile-connectors.ts";
import { describeConnectorContract } from "../../../support/connector-contract.ts";
import { toy } from "./toy.ts";

describeConnectorContract({ folder: "connector-toy", handler: compileConnectors([toy]), definitions: [toy] });
