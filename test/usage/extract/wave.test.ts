import { describe, expect, it } from "vitest";

import { createWaveClock } from "../../../src/usage/extract/wave.ts";

interface Shape {
  readonly bytesPerSecond: number;
  readonly dataBytes: number;
  /** What the header says of the data; default: what there is. */
  readonly statedBytes?: number;
  /** A chunk between the format and the data. */
  readonly other?: Buffer;
}

function chunk(name: string, body: Buffer, statedBytes = body.length): Buffer {
  const head = Buffer.alloc(8);
  head.write(name, "latin1");
  head.writeUInt32LE(statedBytes, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

function wave({ bytesPerSecond, dataBytes, statedBytes = dataBytes, other = Buffer.alloc(0) }: Shape): Buffer {
  const format = Buffer.alloc(16);
  format.writeUInt32LE(bytesPerSecond, 8);
  const head = Buffer.from("RIFF\0\0\0\0WAVE", "latin1");
  return Buffer.concat([head, chunk("fmt ", format), other, chunk("data", Buffer.alloc(dataBytes), statedBytes)]);
}

function secondsOf(file: Buffer, step = file.length): number | undefined {
  const clock = createWaveClock();
  for (let at = 0; at < file.length; at += step) clock.push(file.subarray(at, at + step));
  return clock.seconds();
}

describe("the length of a WAVE file", () => {
  it("is its data over its rate, however it is cut", () => {
    const file = wave({ bytesPerSecond: 16_000, dataBytes: 40_000 });
    for (const step of [1, 7, 44, 4096, file.length]) expect(secondsOf(file, step)).toBe(2.5);
  });

  it("steps over chunks before the data, of odd length too", () => {
    expect(secondsOf(wave({ bytesPerSecond: 8000, dataBytes: 8000, other: chunk("LIST", Buffer.from("abc")) }))).toBe(1);
  });

  it("is of what came, where the header promises more or nothing", () => {
    expect(secondsOf(wave({ bytesPerSecond: 8000, dataBytes: 4000, statedBytes: 80_000 }))).toBe(0.5);
    expect(secondsOf(wave({ bytesPerSecond: 8000, dataBytes: 4000, statedBytes: 0 }))).toBe(0.5);
  });

  it("is unknown of anything else", () => {
    for (const file of ["", "RIFF", "ID3 an mp3", "RIFF\0\0\0\0AVI LIST"]) expect(secondsOf(Buffer.from(file, "latin1"), 1), file).toBeUndefined();
    expect(secondsOf(wave({ bytesPerSecond: 0, dataBytes: 100 }))).toBeUndefined();
    // A header without an end is looked for no further than some KiB.
    expect(secondsOf(wave({ bytesPerSecond: 8000, dataBytes: 10, other: chunk("junk", Buffer.alloc(100_000)) }))).toBeUndefined();
  });
});
