export type Coding = "identity" | "gzip" | "deflate" | "br" | "zstd";
export function parseContentEncoding(value: string | undefined): readonly Coding[] | undefined { throw new Error(String(value)); }
export interface Decoder {
  push(chunk: Uint8Array): void;
  end(): void;
  destroy(): void;
}
export interface DecoderOptions {
  readonly codings: readonly Coding[];
  readonly onData: (chunk: Uint8Array) => void;
  readonly onEnd: (result: "ok" | "truncated" | "corrupt" | "overflow") => void;
  readonly maxPendingBytes?: number;
  readonly maxRatio?: number;
}
export function createDecoder(options: DecoderOptions): Decoder { throw new Error(String(options)); }
