import { describe, expect, it } from "vitest";

import { BUNDLE_VARIABLES, proxyEnvironment } from "../../src/cli/proxy-environment.ts";

const INPUT = { proxyUrl: "http://127.0.0.1:8080", caFile: "/certs/ca.pem", bundleFile: "/certs/ca-bundle.pem", existing: {} };

describe("proxyEnvironment", () => {
  it("sets the variables of the contract", () => {
    const variables = proxyEnvironment(INPUT);
    for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]) expect(variables[name], name).toBe(INPUT.proxyUrl);
    for (const name of BUNDLE_VARIABLES) expect(variables[name], name).toBe("/certs/ca-bundle.pem");
    expect(variables).toMatchObject({ NODE_EXTRA_CA_CERTS: "/certs/ca.pem", NODE_USE_ENV_PROXY: "1", NO_PROXY: "localhost,127.0.0.1,::1" });
    expect(Object.keys(variables)).toHaveLength(18);
  });

  it("replaces roots by the bundle in each variable of the contract", () => {
    expect([...BUNDLE_VARIABLES].toSorted()).toEqual(
      ["AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE", "DENO_CERT", "GIT_SSL_CAINFO", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"],
    );
  });

  it("merges NO_PROXY in both cases with what is set, each host once", () => {
    const existing = { NO_PROXY: "corp.example, .internal,localhost", no_proxy: "corp.example 10.0.0.0/8" };
    const variables = proxyEnvironment({ ...INPUT, existing, noProxy: ["billing.example"] });
    expect(variables["NO_PROXY"]).toBe("corp.example,.internal,localhost,10.0.0.0/8,billing.example,127.0.0.1,::1");
    expect(variables["no_proxy"]).toBe(variables["NO_PROXY"]);
  });

  it("gives the same when its own result is set already", () => {
    const first = proxyEnvironment({ ...INPUT, existing: { NO_PROXY: "corp.example" } });
    expect(proxyEnvironment({ ...INPUT, existing: first })).toEqual(first);
  });
});
