/** Rows of text as an aligned table or as CSV. Knows nothing of what the rows mean. */

export interface Column {
  readonly title: string;
  /** Numbers stand right. */
  readonly align: "left" | "right";
}

export type Cells = readonly string[];

const GAP = "  ";

/** Header, rows and perhaps a footer under a rule, every line ended by a line break. Control characters are made harmless. */
export function renderTable(columns: readonly Column[], rows: readonly Cells[], footer?: Cells): string {
  const header = columns.map((column) => column.title);
  const body = rows.map((row) => row.map(printable));
  const foot = footer?.map(printable);
  const all = foot === undefined ? [header, ...body] : [header, ...body, foot];
  const widths = columns.map((_, index) => Math.max(...all.map((row) => width(row[index] ?? ""))));
  const lines = [header, ...body].map((row) => alignRow(row, columns, widths));
  if (foot !== undefined) lines.push(widths.map((length) => "─".repeat(length)).join(GAP), alignRow(foot, columns, widths));
  return `${lines.join("\n")}\n`;
}

/** RFC 4180: CRLF line ends, quotes only where a cell needs them. */
export function renderCsv(header: Cells, rows: readonly Cells[]): string {
  return [header, ...rows].map((row) => `${row.map(csvCell).join(",")}\r\n`).join("");
}

/** Text from outside, safe to write on a terminal: control and direction characters become "�". */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, "�");
}

/** 12304 → "12,304". */
export function grouped(count: number): string {
  return count.toLocaleString("en-US");
}

function alignRow(row: Cells, columns: readonly Column[], widths: readonly number[]): string {
  const cells = columns.map((column, index) => {
    const text = row[index] ?? "";
    const padding = " ".repeat((widths[index] ?? 0) - width(text));
    return column.align === "right" ? padding + text : text + padding;
  });
  return cells.join(GAP).trimEnd();
}

function width(text: string): number {
  return [...text].length;
}

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
