/**
 * A sample agent: one streamed chat completion, made with nothing but fetch. It knows nothing of the proxy: the variables
 * HTTPS_PROXY, NODE_USE_ENV_PROXY and NODE_EXTRA_CA_CERTS lead its traffic there.
 */

const response = await fetch("https://api.openai.com/v1/chat/completions", {
  method: "POST",
  headers: { "content-type": "application/json", authorization: `Bearer ${process.env.OPENAI_API_KEY ?? ""}` },
  body: JSON.stringify({
    model: process.env.OPENAI_MODEL ?? "gpt-4o-mini",
    stream: true,
    stream_options: { include_usage: true },
    messages: [{ role: "user", content: "Say hello in five words." }],
  }),
});
process.stdout.write(`HTTP ${response.status}\n`);
for await (const text of response.body.pipeThrough(new TextDecoderStream())) process.stdout.write(text);
