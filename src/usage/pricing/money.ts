/**
 * Money as integers. An amount is a non-negative `bigint` of pico-USD (10^-12 USD), so that sums are exact and
 * never pass through a float. Amounts enter and leave the program as decimal strings.
 */

/** Digits after the point of a pico-USD amount. */
export const PICO_DIGITS = 12;

/** Longest decimal text that is read: keeps a hostile "1e999999999" or a megabyte of digits cheap. */
const MAX_TEXT_LENGTH = 64;
const MAX_EXPONENT = 40;

const DECIMAL = /^(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/;

/**
 * Reads a non-negative decimal ("0.054399", "3", "4.5e-7") as an integer of 10^-`digits`, rounding half up beyond
 * that digit. `undefined` for anything else: a sign, blanks, more than 64 characters, an exponent beyond 40.
 */
export function parseDecimal(text: string, digits: number): bigint | undefined {
  if (text.length > MAX_TEXT_LENGTH) return undefined;
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const [, whole = "0", fraction = "", exponentText = "0"] = match;
  const exponent = Number(exponentText);
  if (Math.abs(exponent) > MAX_EXPONENT) return undefined;
  const significand = BigInt(whole + fraction);
  const shift = digits - fraction.length + exponent;
  if (shift >= 0) return significand * 10n ** BigInt(shift);
  return divideHalfUp(significand, 10n ** BigInt(-shift));
}

/**
 * A number that stands for a decimal (a JSON price such as 0.3) as an integer of 10^-`digits`. The number is read by
 * its shortest decimal form, which is what its author wrote. `undefined` for negative and non-finite numbers.
 */
export function decimalOfNumber(value: number, digits: number): bigint | undefined {
  return parseDecimal(String(value), digits);
}

/** Pico-USD of a decimal USD string, rounded half up at the twelfth digit; `undefined` if it is no such string. */
export function parseUsd(text: string): bigint | undefined {
  return parseDecimal(text, PICO_DIGITS);
}

/** The decimal USD string of a non-negative amount of pico-USD: no trailing zeros, no exponent ("0.054399", "0"). */
export function formatUsd(picoUsd: bigint): string {
  const padded = picoUsd.toString().padStart(PICO_DIGITS + 1, "0");
  const whole = padded.slice(0, -PICO_DIGITS);
  const fraction = padded.slice(-PICO_DIGITS).replace(/0+$/, "");
  return fraction === "" ? whole : `${whole}.${fraction}`;
}

/** `dividend / divisor` of non-negative integers, rounded half up. */
export function divideHalfUp(dividend: bigint, divisor: bigint): bigint {
  return (2n * dividend + divisor) / (2n * divisor);
}
