/** Which bytes base64 is written with. */

/** By byte: 1 for those of both alphabets of RFC 4648, and the padding. */
export const IS_BASE64: Uint8Array = base64Alphabet();

function base64Alphabet(): Uint8Array {
  const table = new Uint8Array(256);
  for (const char of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=") table[char.charCodeAt(0)] = 1;
  return table;
}
