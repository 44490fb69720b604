import { describe, expect, it } from "vitest";
import { createCircuit } from "../../../src/usage/delivery/circuit.ts";

describe("the circuit", () => {
  it("opens at the fifth failure in a row of one batch, whatever others do at the same time", () => {
    const circuit = createCircuit(() => 0.5);
    for (const inRow of [1, 1, 2, 3, 2, 4, 4]) expect(circuit.failed(inRow, false)).toBeUndefined();
    expect([circuit.state, circuit.failures]).toEqual(["closed", 4]);
    expect(circuit.failed(5, false)).toBe(60_000);
    expect(circuit.state).toBe("open");
    // Those that were under way: the probe stands.
    expect(circuit.failed(5, false)).toBeUndefined();
  });

  it.each([0, 0.5, 0.999])("probes after 60 to 300 seconds, less and less often (random %d)", (random) => {
    const circuit = createCircuit(() => random);
    const waits = Array.from({ length: 20 }, () => circuit.failed(5, true) ?? 0);
    expect(waits[0]).toBe(60_000);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(60_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(300_000);
    expect(waits.at(-1)).toBe(Math.floor(60_000 + random * 240_000));
  });

  it("closes at an answer, and begins to count anew", () => {
    const circuit = createCircuit(() => 0);
    circuit.failed(5, false);
    const { generation } = circuit;
    circuit.answered();
    expect([circuit.state, circuit.failures]).toEqual(["closed", 0]);
    expect(circuit.generation).not.toBe(generation);
  });

  it("keeps everything back for as long as the sink asks", () => {
    const circuit = createCircuit(() => 0);
    expect(circuit.failed(1, false, 7000)).toBe(7000);
    expect(circuit.state).toBe("asked");
    expect(circuit.failed(2, true)).toBeUndefined();
    expect(circuit.state).toBe("closed");
    expect(circuit.failed(5, false, 3_600_000)).toBe(3_600_000);
    expect(circuit.state).toBe("open");
  });

  it("pauses for a minute at a time", () => {
    const circuit = createCircuit(() => 0.5);
    expect([circuit.refused(), circuit.refused()]).toEqual([60_000, 60_000]);
    expect(circuit.state).toBe("paused");
  });
});
