import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createCalibration, MAX_MODELS } from "../../../src/usage/estimate/calibration.ts";

describe("calibration", () => {
  it("knows nothing of a model that it was not told of", () => {
    const calibration = createCalibration();
    expect(calibration.factor("m", "input")).toBeUndefined();
    calibration.observe("m", "input", { heuristic: 100, reported: 120 });
    expect(calibration.factor("m", "output")).toBeUndefined();
    expect(calibration.factor("n", "input")).toBeUndefined();
  });

  it("comes to the ratio of the model, half-way at the first response", () => {
    const calibration = createCalibration();
    calibration.observe("m", "output", { heuristic: 100, reported: 135 });
    expect(calibration.factor("m", "output")).toBeCloseTo(1.175, 10);
    for (let index = 0; index < 40; index++) calibration.observe("m", "output", { heuristic: 100, reported: 135 });
    expect(calibration.factor("m", "output")).toBeCloseTo(1.35, 1);
  });

  it("forgets an old ratio for a new one", () => {
    const calibration = createCalibration();
    for (let index = 0; index < 200; index++) calibration.observe("m", "input", { heuristic: 100, reported: 150 });
    for (let index = 0; index < 60; index++) calibration.observe("m", "input", { heuristic: 100, reported: 80 });
    expect(calibration.factor("m", "input")).toBeGreaterThan(0.79);
    expect(calibration.factor("m", "input")).toBeLessThan(0.83);
  });

  it.each([
    ["short texts", { heuristic: 15, reported: 20 }],
    ["no text", { heuristic: 0, reported: 20 }],
    ["what is no matter of tokenizers", { heuristic: 100, reported: 401 }],
    ["reports of nothing", { heuristic: 100, reported: 0 }],
  ])("learns nothing from %s", (_what, tokens) => {
    const calibration = createCalibration();
    calibration.observe("m", "input", tokens);
    expect(calibration.factor("m", "input")).toBeUndefined();
  });

  it("stays within its bounds, and gives the same for the same observations", () => {
    const observation = fc.record({ heuristic: fc.nat(1000), reported: fc.nat(5000) });
    fc.assert(
      fc.property(fc.array(observation, { maxLength: 100 }), (observations) => {
        const [one, two] = [createCalibration(), createCalibration()];
        for (const tokens of observations) {
          one.observe("m", "input", tokens);
          two.observe("m", "input", tokens);
        }
        expect(one.factor("m", "input")).toBe(two.factor("m", "input"));
        const factor = one.factor("m", "input") ?? 1;
        expect(factor).toBeGreaterThanOrEqual(0.25);
        expect(factor).toBeLessThanOrEqual(4);
      }),
    );
  });

  it("keeps a bounded number of models, those used last", () => {
    const calibration = createCalibration();
    calibration.observe("kept", "input", { heuristic: 100, reported: 120 });
    for (let index = 0; index < MAX_MODELS * 2; index++) {
      calibration.observe(`m-${index}`, "input", { heuristic: 100, reported: 110 });
      calibration.observe("kept", "input", { heuristic: 100, reported: 120 });
    }
    calibration.observe("x".repeat(201), "input", { heuristic: 100, reported: 110 });
    expect(calibration.size).toBe(MAX_MODELS);
    expect(calibration.factor("kept", "input")).toBeDefined();
    expect(calibration.factor("m-0", "input")).toBeUndefined();
    expect(calibration.factor("x".repeat(201), "input")).toBeUndefined();
  });

  it("wants the first responses of a model, then one of sixty-four", () => {
    const calibration = createCalibration();
    const wanted = Array.from({ length: 256 }, () => calibration.isWanted("m", "output"));
    expect(wanted.slice(0, 16).every(Boolean)).toBe(true);
    expect(wanted.slice(16).filter(Boolean)).toHaveLength(3);
    expect(calibration.isWanted("n", "output")).toBe(true);
    expect(calibration.isWanted("x".repeat(201), "output")).toBe(false);
  });
});
