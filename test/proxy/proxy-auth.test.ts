import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createProxyAuth } from "../../src/proxy/proxy-auth.ts";

const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;

describe("with tokens", () => {
  const authenticate = createProxyAuth(["first-secret", "second-secret"]);

  it("lets each of the secrets in, under the user name that is claimed", () => {
    expect(authenticate(basic("agent-7:first-secret"))).toEqual({ isAllowed: true, user: "agent-7" });
    expect(authenticate(basic("agent-8;thread=T;org=O:second-secret"))).toEqual({ isAllowed: true, user: "agent-8;thread=T;org=O" });
    expect(authenticate(basic(":first-secret"))).toEqual({ isAllowed: true, user: undefined });
  });

  it("reads the scheme in any case and with any white space", () => {
    const encoded = Buffer.from("a:first-secret").toString("base64");
    for (const header of [`basic ${encoded}`, `BASIC  ${encoded}  `, `Basic\t${encoded}`]) expect(authenticate(header)).toEqual({ isAllowed: true, user: "a" });
  });

  it("lets a secret with colons and letters beyond ASCII in", () => {
    expect(createProxyAuth(["a:b:ü"])(basic("agent:a:b:ü"))).toEqual({ isAllowed: true, user: "agent" });
  });

  it.each([
    ["no header", undefined],
    ["an empty one", ""],
    ["a wrong secret", basic("agent:third-secret")],
    ["a secret that only begins right", basic("agent:first-secretx")],
    ["the beginning of a secret", basic("agent:first-secre")],
    ["an empty secret", basic("agent:")],
    ["the secret as the user", basic("first-secret:")],
    ["no colon", basic("first-secret")],
    ["both secrets joined", basic("agent:first-secret,second-secret")],
    ["another scheme", `Bearer ${Buffer.from("agent:first-secret").toString("base64")}`],
    ["no base64", "Basic agent:first-secret"],
    ["something behind it", `${basic("agent:first-secret")} x`],
    ["a header without end", `Basic ${"A".repeat(9000)}`],
  ])("refuses %s", (_name, header) => {
    expect(authenticate(header)).toEqual({ isAllowed: false });
  });

  it("refuses whatever else is sent", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(authenticate(basic(`agent:${text}`)).isAllowed).toBe(["first-secret", "second-secret"].includes(text));
      }),
    );
  });
});

describe("without tokens", () => {
  const authenticate = createProxyAuth([]);

  it("lets everybody in and still reads the user name", () => {
    expect(authenticate(undefined)).toEqual({ isAllowed: true, user: undefined });
    expect(authenticate("rubbish")).toEqual({ isAllowed: true, user: undefined });
    expect(authenticate(basic("agent-7:whatever"))).toEqual({ isAllowed: true, user: "agent-7" });
  });
});
