/** Sums of money as decimal strings, exact. */

/** The sum of non-negative decimal strings ("0.054399"); trailing zeros of the fraction are dropped. */
export function addDecimals(amounts: readonly string[]): string {
  const scale = Math.max(0, ...amounts.map((amount) => fraction(amount).length));
  const sum = amounts.reduce((total, amount) => total + BigInt(whole(amount) + fraction(amount).padEnd(scale, "0")), 0n);
  const digits = sum.toString().padStart(scale + 1, "0");
  const end = fractionEnd(digits, scale);
  const integer = digits.slice(0, digits.length - scale);
  return end === 0 ? integer : `${integer}.${digits.slice(digits.length - scale, digits.length - scale + end)}`;
}

function fractionEnd(digits: string, scale: number): number {
  return digits.slice(digits.length - scale).replace(/0+$/, "").length * (scale === 0 ? 0 : 1);
}

function whole(amount: string): string {
  return amount.split(".")[0] ?? "0";
}

function fraction(amount: string): string {
  return amount.split(".")[1] ?? "";
}
