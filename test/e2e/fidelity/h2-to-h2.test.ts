import { testConformance } from "./conformance.ts";

testConformance("h2→h2");
