import { testConformance } from "./conformance.ts";

testConformance("h1→h1");
