import { describe, expect, it } from "vitest";
import { environmentOf, execForm, parseCopy, parseDockerfile, textsOf } from "./dockerfile.ts";

describe("the Dockerfile reader", () => {
  it("reads stages, comments and continued lines", () => {
    const stages = parseDockerfile('FROM a AS one\nRUN x \\\n && y\n# FROM no\nfrom b\nENV A=1 \\\n # inside\n    B=c=d\nCMD ["n"]\n');
    expect(stages.map(({ from, name }) => [from, name])).toEqual([["a", "one"], ["b", undefined]]);
    expect(textsOf(stages[0]!, "RUN")).toEqual(["x && y"]);
    expect(environmentOf(stages[1]!)).toEqual({ A: "1", B: "c=d" });
  });

  it("refuses an instruction before the first stage", () => {
    expect(() => parseDockerfile("RUN x")).toThrow("RUN before FROM");
  });

  it("tells an exec form from a shell form", () => {
    expect(execForm('["node", "a b"]')).toEqual(["node", "a b"]);
    expect(() => execForm("node a")).toThrow(SyntaxError);
  });

  it("reads where a COPY comes from and goes to", () => {
    expect(parseCopy("--from=build /app/a /app/b ./")).toEqual({ from: "build", sources: ["/app/a", "/app/b"], target: "./" });
    expect(parseCopy("src src")).toEqual({ from: undefined, sources: ["src"], target: "src" });
  });
});
