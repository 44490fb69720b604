import { describe, expect, it } from "vitest";

import { hostTable, interception, recognition } from "../../src/app/hosts.ts";
import { loadSettings } from "../../src/config/load.ts";
import type { Settings } from "../../src/config/settings.ts";
import type { Handler } from "../../src/usage/handler.ts";
import { ownerOf } from "../../src/usage/shared-host.ts";

function handler(id: string, hosts: readonly string[], exceptHosts?: readonly string[]): Handler {
  return { id, kind: "connector", hosts, ...(exceptHosts === undefined ? {} : { exceptHosts }), open: () => ({ api: id, operation: "other", isBillable: false, reader: undefined }) };
}

function settings(env: NodeJS.ProcessEnv = {}): Settings {
  const result = loadSettings(env, { cwd: "/", isCheckout: false, homeDir: "/home/ada" });
  if (!("settings" in result)) throw new Error("the settings have a fault");
  return result.settings;
}

const talk = handler("talk", ["talk.example", "*.talk.example"], ["app.talk.example"]);

describe("the table of hosts", () => {
  it("finds an excepted host for nobody, and the hosts around it for their handler", () => {
    const hosts = hostTable([talk], settings());
    const isTerminated = interception(settings(), hosts);
    expect(hosts.lookup("team.talk.example", 443)?.id).toBe("talk");
    expect(hosts.lookup("app.talk.example", 443)).toBeUndefined();
    expect([isTerminated("team.talk.example", 443), isTerminated("app.talk.example", 443)]).toEqual([true, false]);
  });

  it("lets handlers share a host whose first one wants only some of its paths", () => {
    const mail: Handler = { ...handler("mail", ["www.shared.example"]), ownsPath: (_host, _port, path) => path.startsWith("/mail/") };
    const files: Handler = { ...handler("files", ["WWW.shared.example"]), ownsPath: (_host, _port, path) => path.startsWith("/files/") };
    const owner = hostTable([mail, files], settings()).lookup("www.shared.example", 443)!;
    const ids = ["/mail/v1/a", "/files/v1/a?q=/mail/", "/else"].map((target) => ownerOf(owner, { host: "www.shared.example", port: 443, target }).id);
    expect(ids).toEqual(["mail", "files", "mail"]);
    expect(hostTable([talk, handler("other", ["talk.example"])], settings()).lookup("talk.example", 443)).toBe(talk);
  });

  it("lets another handler have it, and an operator bind it", () => {
    expect(hostTable([talk, handler("app", ["app.talk.example"])], settings()).lookup("app.talk.example", 443)?.id).toBe("app");
    const bound = hostTable([talk], settings({ TALLYMAN_INTERCEPT_HOSTS: "app.talk.example=talk" }));
    expect(bound.lookup("app.talk.example", 443)?.id).toBe("talk");
  });
});

describe("meters that settings name", () => {
  it("exist, or the start fails with every fault and the nearest name", () => {
    const misspelt = settings({ TALLYMAN_INTERCEPT_HOSTS: "gw.example=talks", TALLYMAN_BILLABLE: "talk,tlak:0123abcd" });
    expect(() => hostTable([talk], misspelt)).toThrow(
      "TALLYMAN_INTERCEPT_HOSTS binds gw.example to the meter talks, which does not exist; the nearest is talk.\nTALLYMAN_BILLABLE names the meter tlak, which does not exist; the nearest is talk.",
    );
    expect(() => hostTable([talk], settings({ TALLYMAN_BILLABLE: "talk,talk:0123abcd" }))).not.toThrow();
  });
});

describe("hosts that nobody has named", () => {
  const known: Handler = { ...talk, recognizes: ({ path }) => path === "/talk" };
  const head = { protocol: "http", method: "POST", target: "/talk?x=1" } as const;

  it("are recognized by their paths under `all` alone", () => {
    expect(recognition([known], settings({ TALLYMAN_INTERCEPT: "all" }))?.(head)?.id).toBe("talk");
    expect(recognition([known], settings({ TALLYMAN_INTERCEPT: "all" }))?.({ ...head, target: "/other" })).toBeUndefined();
    for (const intercept of ["metered", "none"]) expect(recognition([known], settings({ TALLYMAN_INTERCEPT: intercept }))).toBeUndefined();
  });
});
