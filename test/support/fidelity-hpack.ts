/**
 * HPACK (RFC 7541) for peers that speak HTTP/2 by hand: an encoder that writes every field as it is told, valid or not
 * (literals without indexing, no Huffman code), and a whole decoder. `http2-frames.test.ts` holds both against Node's own.
 */

/** Name and value alternating, latin1, in the order of the wire; pseudo fields are ordinary fields here. */
export type FieldList = readonly string[];

/** One header block. Nothing is checked: names may be upper case, values may hold line ends. */
export function encodeFields(fields: FieldList): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    parts.push(Buffer.from([0]), encodeText(fields[i] as string), encodeText(fields[i + 1] as string));
  }
  return Buffer.concat(parts);
}

/** RFC 7541 section 5.1 with a prefix of `bits`, under the flag bits of `first`. */
export function encodeInteger(value: number, bits: number, first = 0): Buffer {
  const limit = 2 ** bits - 1;
  if (value < limit) return Buffer.from([first | value]);
  const bytes = [first | limit];
  let rest = value - limit;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([encodeInteger(bytes.length, 7), bytes]);
}

export interface FieldDecoder {
  /** The fields of the connection's next header block, in order. Throws where the block is no HPACK. */
  decode(block: Buffer): string[];
}

const DEFAULT_TABLE_BYTES = 4096;
/** RFC 7541 section 4.1: what an entry costs beside its two strings. */
const ENTRY_BYTES = 32;

/** A decoder keeps the dynamic table of one direction of one connection. */
export function createFieldDecoder(): FieldDecoder {
  const entries: [string, string][] = [];
  let maxBytes = DEFAULT_TABLE_BYTES;

  const evict = (): void => {
    let bytes = 0;
    const kept = entries.findIndex(([name, value]) => (bytes += name.length + value.length + ENTRY_BYTES) > maxBytes);
    if (kept !== -1) entries.length = kept;
  };
  const entryAt = (index: number): [string, string] => {
    const fixed = STATIC_TABLE[index - 1];
    if (fixed !== undefined) return [fixed[0] as string, fixed[1] ?? ""];
    const own = entries[index - 1 - STATIC_TABLE.length];
    if (own === undefined) throw new Error(`no HPACK entry ${index}`);
    return own;
  };

  return {
    decode(block) {
      const fields: string[] = [];
      const input = { block, at: 0 };
      while (input.at < block.length) {
        const first = block[input.at] as number;
        if ((first & 0x80) !== 0) fields.push(...entryAt(readInteger(input, 7)));
        else if ((first & 0xe0) === 0x20) {
          maxBytes = readInteger(input, 5);
          evict();
        } else {
          const isIndexed = (first & 0xc0) === 0x40;
          const index = readInteger(input, isIndexed ? 6 : 4);
          const name = index === 0 ? readText(input) : entryAt(index)[0];
          const entry: [string, string] = [name, readText(input)];
          fields.push(...entry);
          if (isIndexed) {
            entries.unshift(entry);
            evict();
          }
        }
      }
      return fields;
    },
  };
}

interface Input {
  readonly block: Buffer;
  at: number;
}

function readByte(input: Input): number {
  const byte = input.block[input.at++];
  if (byte === undefined) throw new Error("the header block ends inside a field");
  return byte;
}

function readInteger(input: Input, bits: number): number {
  const limit = 2 ** bits - 1;
  let value = readByte(input) & limit;
  if (value < limit) return value;
  for (let scale = 1; ; scale *= 128) {
    const byte = readByte(input);
    value += (byte & 0x7f) * scale;
    if (byte < 128) return value;
  }
}

function readText(input: Input): string {
  const isHuffman = ((input.block[input.at] ?? 0) & 0x80) !== 0;
  const length = readInteger(input, 7);
  const bytes = input.block.subarray(input.at, input.at + length);
  if (bytes.length !== length) throw new Error("the header block ends inside a string");
  input.at += length;
  return isHuffman ? decodeHuffman(bytes) : bytes.toString("latin1");
}

function decodeHuffman(bytes: Buffer): string {
  let text = "";
  let code = 1;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      const symbol = HUFFMAN.get(code);
      if (symbol === undefined) continue;
      text += String.fromCharCode(symbol);
      code = 1;
    }
  }
  return text;
}

/** RFC 7541 appendix B gives each byte a code of this many bits; codes of one length rise with the byte. */
const CODE_BITS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/** Code, with a 1 in front of its bits, to byte. */
const HUFFMAN = huffmanCodes();

function huffmanCodes(): ReadonlyMap<number, number> {
  const codes = new Map<number, number>();
  const symbols = CODE_BITS.map((bits, symbol) => ({ bits, symbol })).toSorted((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  let code = 0;
  let length = 0;
  for (const { bits, symbol } of symbols) {
    code *= 2 ** (bits - length);
    length = bits;
    codes.set(code + 2 ** bits, symbol);
    code += 1;
  }
  return codes;
}

/** RFC 7541 appendix A. */
const STATIC_TABLE: readonly (readonly string[])[] = [
  [":authority"], [":method", "GET"], [":method", "POST"], [":path", "/"], [":path", "/index.html"], [":scheme", "http"], [":scheme", "https"],
  [":status", "200"], [":status", "204"], [":status", "206"], [":status", "304"], [":status", "400"], [":status", "404"], [":status", "500"],
  ["accept-charset"], ["accept-encoding", "gzip, deflate"], ["accept-language"], ["accept-ranges"], ["accept"], ["access-control-allow-origin"],
  ["age"], ["allow"], ["authorization"], ["cache-control"], ["content-disposition"], ["content-encoding"], ["content-language"], ["content-length"],
  ["content-location"], ["content-range"], ["content-type"], ["cookie"], ["date"], ["etag"], ["expect"], ["expires"], ["from"], ["host"], ["if-match"],
  ["if-modified-since"], ["if-none-match"], ["if-range"], ["if-unmodified-since"], ["last-modified"], ["link"], ["location"], ["max-forwards"],
  ["proxy-authenticate"], ["proxy-authorization"], ["range"], ["referer"], ["refresh"], ["retry-after"], ["server"], ["set-cookie"],
  ["strict-transport-security"], ["transfer-encoding"], ["user-agent"], ["vary"], ["via"], ["www-authenticate"],
];
