/** Posts as the X API answers them: a page of a search with what was expanded, and a stream of lines. Sizes are the same for every contestant. */

export const POSTS_PER_PAGE = 100;
export const POSTS_PER_STREAM = 100_000;
/** One line of the stream, its end included. */
export const POST_LINE_BYTES = 600;

const ID_BASE = 1_445_880_548_472_328_192n;
const TEXT = "What an agent reads is what its owner pays for, so somebody has to count it while it passes, and nobody wants to wait for that. https://t.co/abcdefghij";

/** 100 posts, 40 users and 20 media, about 75 KB. */
export function postsPage(): Buffer {
  const data = Array.from({ length: POSTS_PER_PAGE }, (_, index) => post(index));
  const users = Array.from({ length: 40 }, (_, index) => user(index));
  const media = Array.from({ length: 20 }, (_, index) => ({ media_key: `3_${index}`, type: "photo", url: "https://pbs.twimg.com/media/abcdefghijklmno.jpg", width: 1200, height: 675 }));
  return Buffer.from(JSON.stringify({ data, includes: { users, media }, meta: { result_count: POSTS_PER_PAGE, next_token: "b26v89c19zqg8o3fo7gesq314yb9l2l4ptqy" } }), "latin1");
}

/** POSTS_PER_STREAM lines of POST_LINE_BYTES, each a post with its author. */
export function postLines(): Buffer {
  const lines = Buffer.alloc(POSTS_PER_STREAM * POST_LINE_BYTES);
  for (let index = 0; index < POSTS_PER_STREAM; index++) lines.write(postLine(index), index * POST_LINE_BYTES, "latin1");
  return lines;
}

/** The first lines of the stream, one by one. */
export function firstPostLines(count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) => Buffer.from(postLine(index), "latin1"));
}

function postLine(index: number): string {
  const { id, text, author_id } = post(index);
  const line = { data: { id, text, author_id }, includes: { users: [{ id: author_id, name: "An author", username: "author" }] }, matching_rules: [{ id: "5", tag: "bench" }] };
  const json = JSON.stringify(line);
  return `${json.slice(0, -1)},"pad":"${"x".repeat(POST_LINE_BYTES - json.length - ',"pad":""\r\n'.length)}"}\r\n`;
}

function post(index: number): { readonly id: string; readonly text: string; readonly author_id: string } & Readonly<Record<string, unknown>> {
  const id = String(ID_BASE + BigInt(index));
  return {
    id,
    text: TEXT,
    author_id: String(770_000 + (index % 40)),
    created_at: "2026-11-21T10:00:00.000Z",
    lang: "en",
    edit_history_tweet_ids: [id],
    public_metrics: { retweet_count: 3, reply_count: 1, like_count: 22, quote_count: 0, bookmark_count: 1, impression_count: 1234 },
    entities: { urls: [{ start: 128, end: 151, url: "https://t.co/abcdefghij", expanded_url: "https://example.com/some/page", display_url: "example.com/some/page" }] },
  };
}

function user(index: number): Readonly<Record<string, unknown>> {
  return {
    id: String(770_000 + index),
    name: `Author ${index}`,
    username: `author_${index}`,
    description: "Writes about what agents do, and what it costs.",
    public_metrics: { followers_count: 1200, following_count: 300, tweet_count: 4500, listed_count: 12 },
  };
}
