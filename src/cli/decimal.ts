/** Sums of money as decimal strings, exact. */

/** The sum of non-negative decimal strings ("0.054399"); trailing zeros of the fraction are dropped. */
export function addDecimals(amounts: readonly string[]): string {
  const parts = amounts.map((amount) => amount.split("."));
  const scale = Math.max(0, ...parts.map(([, fraction = ""]) => fraction.length));
  const sum = parts.reduce((total, [whole = "", fraction = ""]) => total + BigInt(whole + fraction.padEnd(scale, "0")), 0n);
  const digits = sum.toString().padStart(scale + 1, "0");
  const point = digits.length - scale;
  const fraction = digits.slice(point).replace(/0+$/, "");
  return fraction === "" ? digits.slice(0, point) : `${digits.slice(0, point)}.${fraction}`;
}
