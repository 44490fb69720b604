/** The image's HEALTHCHECK: exit 0 when the admin server of this container says that it is alive. */

const host = process.env.TALLYMAN_ADMIN_HOST || "127.0.0.1";
const port = process.env.TALLYMAN_ADMIN_PORT || "9090";

/** An address that stands for every one is reached on loopback; an IPv6 literal is bracketed. */
function reachable(name) {
  if (name === "0.0.0.0" || name === "::") return "127.0.0.1";
  return name.includes(":") ? `[${name}]` : name;
}

try {
  const response = await fetch(`http://${reachable(host)}:${port}/healthz`, { signal: AbortSignal.timeout(4_000) });
  process.exitCode = response.ok ? 0 : 1;
} catch (error) {
  process.stderr.write(`${error.cause?.message ?? error.message}\n`);
  process.exitCode = 1;
}
