import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { createMetrics } from "../../src/admin/metrics.ts";
import type { Metrics } from "../../src/admin/metrics.ts";
import { connectorEvent, modelEvent } from "../support/usage-event.ts";

const IDLE = () => ({ flows: 0, buffered: 0, reports: 0 });
const OF_PROCESS = /^tallyman_(?:nodejs|process)_/;

/** The samples of a metric, by their text without the name's prefix. */
async function samples(metrics: Metrics, name: string): Promise<string[]> {
  return (await metrics.text()).split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
}

describe("metrics", () => {
  it("agree with docs/metrics.md in names, types, labels and meaning", async () => {
    const documented = (await readFile(new URL("../../docs/metrics.md", import.meta.url), "utf8")).split("\n").filter((line) => line.startsWith("| `tallyman_") && line.split("|").length === 6);
    const registered = createMetrics({ counters: IDLE })
      .registry.getMetricsAsArray()
      .map((metric) => {
        const labels = "labelNames" in metric && Array.isArray(metric.labelNames) ? metric.labelNames.map((label) => `\`${label}\``).join(", ") : "";
        return `| \`${metric.name}\` | ${metric.type} | ${labels} | ${metric.help} |`;
      });
    const isOwn = (row: string) => !OF_PROCESS.test(row.slice(3));
    expect(registered.filter(isOwn)).toEqual(documented.filter(isOwn));
    // Some metrics of the process exist on some systems only.
    expect(documented).toEqual(expect.arrayContaining(registered));
  });

  it("have the prefix, end in _total exactly when they count, and carry no label that can grow", () => {
    const closed = new Set(["sink", "state", "meter", "category", "status_class", "completeness", "usage_source", "result", "kind", "direction", "code", "name"]);
    const all = createMetrics({ counters: IDLE }).registry.getMetricsAsArray();
    expect(all.length).toBeGreaterThan(20);
    for (const metric of all) {
      expect(metric.name).toMatch(/^tallyman_/);
      expect([metric.name, metric.name.endsWith("_total")]).toEqual([metric.name, String(metric.type) === "counter"]);
      const labels: unknown[] = "labelNames" in metric && Array.isArray(metric.labelNames) ? metric.labelNames : [];
      const unknown = labels.filter((label) => typeof label !== "string" || !closed.has(label));
      expect([metric.name, OF_PROCESS.test(metric.name) ? [] : unknown]).toEqual([metric.name, []]);
    }
  });

  it("count an ended flow by meter and class of status, with its bytes and times", async () => {
    const metrics = createMetrics({ counters: IDLE });
    const flow = { meter: "openai", status: 200, latencyMs: 1500, timeToFirstByteMs: 300, bytesUp: 10, bytesDown: 20 };
    metrics.flowEnded(flow);
    metrics.flowEnded({ ...flow, status: 429 });
    metrics.flowEnded({ ...flow, status: null, timeToFirstByteMs: null });
    expect(await samples(metrics, "tallyman_requests_total")).toEqual([
      'tallyman_requests_total{meter="openai",status_class="2xx"} 1',
      'tallyman_requests_total{meter="openai",status_class="4xx"} 1',
      'tallyman_requests_total{meter="openai",status_class="none"} 1',
    ]);
    expect(await samples(metrics, "tallyman_bytes_total")).toEqual(['tallyman_bytes_total{direction="up"} 30', 'tallyman_bytes_total{direction="down"} 60']);
    expect(await samples(metrics, "tallyman_flow_duration_seconds_sum")).toEqual(['tallyman_flow_duration_seconds_sum{meter="openai"} 4.5']);
    expect(await samples(metrics, "tallyman_time_to_first_byte_seconds_count")).toEqual(['tallyman_time_to_first_byte_seconds_count{meter="openai"} 2']);
  });

  it("count the tokens, units and costs of stored events", async () => {
    const metrics = createMetrics({ counters: IDLE });
    metrics.eventStored(modelEvent({ usage: { input_tokens: 5, web_search_requests: 2 }, cost: { amount: "0.25", currency: "USD", source: "price_book" } }));
    metrics.eventStored(modelEvent({ completeness: "partial", usage_source: "estimate" }));
    metrics.eventStored(connectorEvent());
    expect(await samples(metrics, "tallyman_tokens_total")).toEqual([
      'tallyman_tokens_total{meter="openai",category="input_tokens"} 15',
      'tallyman_tokens_total{meter="openai",category="output_tokens"} 5',
    ]);
    expect(await samples(metrics, "tallyman_units_total")).toEqual([
      'tallyman_units_total{meter="openai",category="web_search_requests"} 2',
      'tallyman_units_total{meter="x",category="posts.read"} 12',
    ]);
    expect(await samples(metrics, "tallyman_cost_usd_total")).toEqual(['tallyman_cost_usd_total{meter="openai"} 0.25']);
    expect(await samples(metrics, "tallyman_events_total")).toEqual([
      'tallyman_events_total{meter="openai",completeness="complete",usage_source="provider"} 1',
      'tallyman_events_total{meter="openai",completeness="partial",usage_source="estimate"} 1',
      'tallyman_events_total{meter="x",completeness="complete",usage_source="provider"} 1',
    ]);
  });

  it("count everything else they are told of", async () => {
    const metrics = createMetrics({ counters: IDLE });
    metrics.commitWaited(0.002);
    metrics.gap("commit_timeout", 2);
    metrics.proxyError("upstream_dns");
    metrics.deliveryAttempted("webhook", "delivered", 40);
    metrics.deliveryAttempted("webhook", "retried", 40);
    metrics.tunnelEnded({ bytesUp: 1, bytesDown: 2 });
    metrics.leafMinted();
    metrics.handshakeFailed();
    metrics.anomaly("usage_missing");
    const text = await metrics.text();
    for (const line of [
      'tallyman_commit_wait_seconds_bucket{le="0.0025"} 1',
      'tallyman_gaps_total{kind="commit_timeout"} 2',
      'tallyman_proxy_errors_total{code="upstream_dns"} 1',
      'tallyman_deliveries_total{sink="webhook",result="delivered"} 1',
      'tallyman_deliveries_total{sink="webhook",result="retried"} 1',
      'tallyman_delivered_events_total{sink="webhook"} 40',
      "tallyman_tunnels_total 1",
      'tallyman_tunnel_bytes_total{direction="down"} 2',
      "tallyman_leaf_mints_total 1",
      "tallyman_handshake_failures_total 1",
      'tallyman_anomalies_total{name="usage_missing"} 1',
    ]) {
      expect(text.split("\n")).toContain(line);
    }
  });

  it("read the stages when they are scraped", async () => {
    const now = { flows: 3, buffered: 2, reports: 1 };
    const metrics = createMetrics({ counters: () => now });
    now.flows = 7;
    const text = (await metrics.text()).split("\n");
    expect(text).toEqual(expect.arrayContaining(["tallyman_flows_active 7", "tallyman_events_buffered 2", "tallyman_events_pending 1"]));
  });

  it("take no number that is not finite and positive, and do not throw at it", async () => {
    const metrics = createMetrics({ counters: IDLE });
    for (const wrong of [Number.NaN, Infinity, -1]) {
      metrics.flowEnded({ meter: "openai", status: 200, latencyMs: wrong, timeToFirstByteMs: wrong, bytesUp: wrong, bytesDown: wrong });
      metrics.gap("queue_full", wrong);
      metrics.commitWaited(wrong);
    }
    expect(await samples(metrics, "tallyman_flow_duration_seconds_count")).toEqual([]);
    expect(await samples(metrics, "tallyman_commit_wait_seconds_count")).toEqual(["tallyman_commit_wait_seconds_count 0"]);
    expect(await samples(metrics, "tallyman_gaps_total")).toEqual([]);
    expect(await samples(metrics, "tallyman_requests_total")).toEqual(['tallyman_requests_total{meter="openai",status_class="2xx"} 3']);
  });

  it("show the state of each sink's circuit", async () => {
    const metrics = createMetrics({ counters: IDLE, sinks: () => new Map([["webhook", { circuit: "paused" }]]) });
    expect(await samples(metrics, "tallyman_sink_circuit")).toEqual([
      'tallyman_sink_circuit{sink="webhook",state="closed"} 0',
      'tallyman_sink_circuit{sink="webhook",state="open"} 0',
      'tallyman_sink_circuit{sink="webhook",state="asked"} 0',
      'tallyman_sink_circuit{sink="webhook",state="paused"} 1',
    ]);
  });

  it("keep a label bounded when its set is not closed", async () => {
    const metrics = createMetrics({ counters: IDLE });
    for (let count = 0; count < 500; count += 1) metrics.proxyError(`code-${count}`);
    const lines = await samples(metrics, "tallyman_proxy_errors_total");
    expect(lines).toHaveLength(201);
    expect(lines).toContain('tallyman_proxy_errors_total{code="other"} 300');
  });
});
