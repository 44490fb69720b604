/**
 * A sample receiver of usage events, without dependencies: checks the Standard Webhooks signature, drops what it has
 * seen, prints one line an event. A real one keeps `source` and `id` unique in its database instead of in memory.
 *
 * TALLYMAN_WEBHOOK_SECRET (whsec_…) is the secret of the sender; PORT is where it listens, 8787 by default.
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const TOLERANCE_S = 5 * 60;
const MAX_BODY_BYTES = 32 * 1024 * 1024;
const MAX_REMEMBERED = 100_000;

const [prefix, encoded] = (process.env.TALLYMAN_WEBHOOK_SECRET ?? "").split("_");
if (prefix !== "whsec" || !encoded) {
  process.stderr.write("TALLYMAN_WEBHOOK_SECRET must be whsec_ and the secret in base64\n");
  process.exit(2);
}
const key = Buffer.from(encoded, "base64");
const seen = new Set();

/** https://www.standardwebhooks.com: HMAC-SHA256 of `id.timestamp.body`; the header may hold several signatures. */
function isSigned(headers, body) {
  const id = headers["webhook-id"];
  const timestamp = headers["webhook-timestamp"];
  if (!id || !/^\d+$/.test(timestamp ?? "") || Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
  return (headers["webhook-signature"] ?? "").split(" ").some((signature) => {
    const [version, value] = signature.split(",");
    const given = Buffer.from(value ?? "", "base64");
    return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

/** At least once means that an event may come again. The oldest are forgotten. */
function isNew({ source, id }) {
  const name = `${source} ${id}`;
  if (seen.has(name)) return false;
  seen.add(name);
  if (seen.size > MAX_REMEMBERED) seen.delete(seen.values().next().value);
  return true;
}

function line({ time, subject, data }) {
  const what = data.response_model ?? data.request_model ?? data.route ?? "";
  const cost = data.cost ? ` ${data.cost.amount} ${data.cost.currency}` : "";
  return `${time} ${subject} ${data.meter} ${what} ${JSON.stringify(data.usage)} ${data.completeness}${cost}\n`;
}

async function readBody(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function answer(request) {
  if (request.method !== "POST") return 405;
  const body = await readBody(request);
  if (body === undefined) return 413;
  if (!isSigned(request.headers, body)) return 401;
  const events = JSON.parse(body.toString("utf8"));
  if (!Array.isArray(events)) return 400;
  for (const event of events.filter(isNew)) process.stdout.write(line(event));
  return 204;
}

const server = createServer((request, response) => {
  answer(request)
    // The message of a JSON error quotes the body: it is not for a log.
    .catch((error) => {
      process.stderr.write(`refused a post: ${error.name}\n`);
      return 400;
    })
    .then((status) => response.writeHead(status, status === 413 ? { connection: "close" } : {}).end());
});
server.listen(Number(process.env.PORT ?? 8787), () => process.stdout.write(`receiving on port ${server.address().port}\n`));
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.close();
    server.closeAllConnections();
  });
}
