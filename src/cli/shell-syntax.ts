/** Writes variables in the syntax of a shell or of a file of variables. */

export const SHELLS = ["sh", "fish", "powershell", "dotenv", "docker"] as const;
export type Shell = (typeof SHELLS)[number];

/** One line a variable, each ended by a line break. Whatever is in a value, the reader gets it back as it was. */
export function formatVariables(variables: Readonly<Record<string, string>>, shell: Shell): string {
  return Object.entries(variables).map(([name, value]) => `${formatVariable(name, value, shell)}\n`).join("");
}

/** `docker` is the form of `docker run --env-file`: no quotes, the value is the rest of the line. */
function formatVariable(name: string, value: string, shell: Shell): string {
  switch (shell) {
    case "sh":
      return `export ${name}='${value.replaceAll("'", `'\\''`)}'`;
    case "fish":
      return `set -gx ${name} '${value.replace(/['\\]/g, "\\$&")}'`;
    case "powershell":
      // PowerShell takes typographic quotes for quotes.
      return `$env:${name} = '${value.replace(/['\u2018-\u201b]/g, "$&$&")}'`;
    case "dotenv":
      return `${name}=${dotenvValue(value)}`;
    case "docker":
      return `${name}=${value}`;
    default:
      return shell satisfies never;
  }
}

function dotenvValue(value: string): string {
  if (/^[\w./:@%+,=-]*$/.test(value)) return value;
  return value.includes("'") ? `"${value.replace(/["\\$`]/g, "\\$&")}"` : `'${value}'`;
}
