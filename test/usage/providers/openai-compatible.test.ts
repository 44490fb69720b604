import { describe, expect, it } from "vitest";
import { createHostTable } from "../../../src/flow/route.ts";
import type { OpenedExchange } from "../../../src/usage/handler.ts";
import { openAiCompatible } from "../../../src/usage/providers/openai-compatible.ts";
import { createReplayJobs } from "../../../src/usage/replay.ts";
import { handlerOf, loadFixtures } from "../../support/fixture.ts";
import { describeHandlerContract } from "../../support/handler-contract.ts";

describeHandlerContract("openai-compatible", openAiCompatible);

const table = createHostTable(openAiCompatible.flatMap((handler) => handler.hosts.map((host) => [host, handler] as const)));

function open(host: string, method: string, path: string): OpenedExchange {
  const exchange = { host, port: 443, protocol: "http", method, path, query: "", headers: [] } as const;
  return table.lookup(host, 443)!.open(exchange, { isEstimateAllowed: true, jobs: createReplayJobs() });
}

describe("the hosts of the family", () => {
  it.each([
    ["openrouter", ["openrouter.ai"]],
    ["xai", ["api.x.ai", "us-east-1.api.x.ai"]],
    ["groq", ["api.groq.com"]],
    ["mistral", ["api.mistral.ai", "codestral.mistral.ai"]],
    ["deepseek", ["api.deepseek.com"]],
    ["together", ["api.together.ai", "api.together.xyz"]],
    ["fireworks", ["api.fireworks.ai"]],
    ["perplexity", ["api.perplexity.ai"]],
    ["cerebras", ["api.cerebras.ai"]],
    ["moonshot", ["api.moonshot.ai", "api.moonshot.cn", "api.kimi.com"]],
    ["zai", ["api.z.ai", "open.bigmodel.cn"]],
    ["dashscope", ["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"]],
    ["dashscope", ["cn-hongkong.dashscope.aliyuncs.com", "llm-1.ap-southeast-1.maas.aliyuncs.com"]],
    ["github-copilot", ["api.githubcopilot.com", "api.individual.githubcopilot.com", "api.business.githubcopilot.com"]],
    ["github-copilot", ["api.enterprise.githubcopilot.com", "copilot-proxy.githubusercontent.com", "copilot-api.acme.ghe.com"]],
    ["github-models", ["models.github.ai", "models.inference.ai.azure.com"]],
  ])("of %s are known: %j", (id, hosts) => {
    for (const host of hosts) expect(table.lookup(host, 443)?.id, host).toBe(id);
  });

  it("of a server on this machine are known at its port", () => {
    for (const host of ["localhost", "127.0.0.1", "::1", "host.docker.internal"]) {
      expect(table.lookup(host, 1234)?.id, host).toBe("local");
      expect(table.lookup(host, 8000), host).toBeUndefined();
    }
  });

  it("have a recorded exchange for every row", () => {
    const exchanges = loadFixtures("openai-compatible").flatMap((fixture) => fixture.exchanges);
    const recorded = new Set(exchanges.map((exchange) => handlerOf(exchange, openAiCompatible).id));
    expect(openAiCompatible.map(({ id }) => id).filter((id) => !recorded.has(id))).toEqual([]);
  });

  it("leave the rest of their domains alone", () => {
    for (const host of ["aliyuncs.com", "oss.aliyuncs.com", "github.com", "acme.ghe.com", "mistral.ai"]) expect(table.lookup(host, 443), host).toBeUndefined();
  });
});

describe("what a server has beside OpenAI's formats", () => {
  it.each([
    ["api.mistral.ai", "POST", "/v1/conversations", "mistral.conversations", "chat", true],
    ["api.mistral.ai", "POST", "/v1/conversations/conv_1", "mistral.conversations", "chat", true],
    ["api.mistral.ai", "POST", "/v1/conversations/conv_1/restart/", "mistral.conversations", "chat", true],
    ["api.mistral.ai", "GET", "/v1/conversations/conv_1/history", "mistral.other", "other", false],
    ["api.mistral.ai", "DELETE", "/v1/conversations/conv_1", "mistral.other", "other", false],
    ["api.mistral.ai", "POST", "/v1/ocr", "mistral.ocr", "ocr", true],
    ["api.mistral.ai", "POST", "/v1/agents/completions", "mistral.completions", "completion", true],
    ["api.groq.com", "POST", "/v1/ocr", "groq.other", "other", false],
    ["dashscope.aliyuncs.com", "POST", "/api/v1/services/aigc/text-generation/generation", "dashscope.services", "chat", true],
    ["dashscope.aliyuncs.com", "POST", "/api/v1/services/embeddings/text-embedding/text-embedding", "dashscope.services", "embeddings", true],
    ["dashscope.aliyuncs.com", "GET", "/api/v1/tasks/task-1", "dashscope.tasks", "fetch", false],
    ["dashscope.aliyuncs.com", "POST", "/api/v1/tasks/task-1/cancel", "dashscope.other", "other", false],
    ["dashscope.aliyuncs.com", "POST", "/compatible-mode/v1/chat/completions", "dashscope.chat_completions", "chat", true],
    ["dashscope-intl.aliyuncs.com", "POST", "/api/v2/apps/protocols/compatible-mode/v1/responses", "dashscope.responses", "chat", true],
  ])("%s %s %s is %s", (host, method, path, api, operation, isBillable) => {
    expect(open(host, method, path)).toMatchObject({ api, operation, isBillable });
  });
});
