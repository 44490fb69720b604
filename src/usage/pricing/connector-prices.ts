/**
 * What connectors charge for what they count: dated rows, each with its source and how sure it is. Data only;
 * connector-price-book.ts looks it up. Slack charges nothing per call: it has no rows, and its events no cost. Gmail is
 * free of charge so far: its rows are zeros, so that an operator need only price what is charged on.
 */

/** Day of the last change of this table; part of every connector event's `price_version`. */
export const CONNECTOR_PRICES_DATE = "2026-11-28";

/**
 * A: the vendor's own current pages settle it. B: sources disagree, or it rests on one. C: no source names it and the
 * price follows from another row.
 */
export type PriceConfidence = "A" | "B" | "C";

export interface ConnectorPriceRow {
  /** Id of the connector. */
  readonly connector: string;
  /** A category, or "category@route" for what one route alone costs. */
  readonly category: string;
  /** USD for one, a decimal. */
  readonly usd: string;
  /** The dearer reading, where sources disagree: the `strict` profile takes it. */
  readonly strictUsd?: string;
  /** First UTC day; of several rows of one category the latest that has begun holds. */
  readonly from: string;
  readonly source: string;
  /** When the source was read. */
  readonly checked: string;
  readonly confidence: PriceConfidence;
}

/** Keys as reference/connectors.md section 0 has them. */
const PAGE = "docs.x.com/x-api/getting-started/pricing";
const SHEET = "price sheet of the X plugin in cursor/plugins (third party)";
const WIDGET = "sliders.js of docs.x.com (its cost widget)";

/** General launch of pay-per-use, and the days on which X changed its list. */
const LAUNCH = "2026-02-06";
const APRIL = "2026-04-20";
const JUNE = "2026-06-18";

type XRow = readonly [category: string, usd: string, confidence: PriceConfidence, more?: Partial<Pick<ConnectorPriceRow, "strictUsd" | "source" | "from">>];

/** reference/connectors.md sections 2.2, 2.3 and 2.5. */
const X_ROWS: readonly XRow[] = [
  ["posts.read", "0.005", "A"],
  ["posts.read@notes.eligible_posts", "0", "B", { strictUsd: "0.005", source: WIDGET }],
  ["users.read", "0.01", "A"],
  ["users.read@users.me", "0", "B", { strictUsd: "0.01", source: SHEET }],
  ["users.read@tweets.liking_users", "0", "B", { strictUsd: "0.01", source: SHEET }],
  ["follows.read", "0.01", "A"],
  ["dm_events.read", "0.01", "A"],
  ["lists.read", "0.005", "A"],
  ["spaces.read", "0.005", "A"],
  ["communities.read", "0.005", "A"],
  ["news.read", "0.005", "B", { source: SHEET }],
  ["notes.read", "0", "B", { strictUsd: "0.005", source: WIDGET }],
  ["likes.read", "0.001", "A", { from: JUNE }],
  ["owned_reads", "0.001", "A", { from: APRIL }],
  ["media.read", "0", "B", { strictUsd: "0.005", source: SHEET }],
  ["polls.read", "0", "C", { strictUsd: "0.005", source: "no price published; strict: as posts, in vm0-ai/vm0" }],
  ["places.read", "0", "C", { strictUsd: "0.005", source: "no price published; strict: as posts, in vm0-ai/vm0" }],
  ["topics.read", "0", "C", { strictUsd: "0.005", source: "no price published; strict: as posts, in vm0-ai/vm0" }],
  ["bookmark_folders.read", "0", "B", { strictUsd: "0.005", source: SHEET }],
  ["counts.recent", "0.005", "A"],
  ["counts.all", "0.01", "A"],
  ["trends.requests", "0.01", "A"],
  ["compliance.events", "0.005", "B", { source: WIDGET }],
  ["compliance.events@compliance.users", "0.01", "B", { source: WIDGET }],
  ["activity.events", "0", "A", { from: JUNE }],
  ["activity.events.post", "0.005", "A", { from: JUNE }],
  ["activity.events.post_delete", "0", "B", { strictUsd: "0.005", from: JUNE }],
  ["activity.events.follow", "0.01", "A", { from: JUNE }],
  ["activity.events.like", "0.001", "C", { from: JUNE, source: "as likes.read: the list has no row for it" }],
  ["activity.events.mute", "0.001", "A", { from: JUNE }],
  ["activity.events.block", "0.001", "A", { from: JUNE }],
  ["activity.events.profile_update", "0.005", "A", { from: JUNE }],
  ["activity.events.message_received", "0.01", "A", { from: JUNE }],
  ["activity.events.message_other", "0", "A", { from: JUNE }],
  ["activity.events.news", "0.005", "A", { from: JUNE }],
  ["activity.events.space", "0.005", "A", { from: JUNE }],
  ["posts.create", "0.01", "A"],
  ["posts.create", "0.015", "A", { from: APRIL }],
  ["posts.create_with_url", "0.01", "A"],
  ["posts.create_with_url", "0.2", "A", { from: APRIL }],
  ["content.manage", "0.005", "A"],
  ["content.manage@tweets.hide", "0.005", "B", { strictUsd: "0.01", source: "developer.x.com" }],
  ["articles.write", "0.01", "B", { source: SHEET }],
  ["interactions.create", "0.015", "A"],
  ["interactions.delete", "0.01", "A"],
  ["interactions.delete@retweets.delete", "0.005", "B", { strictUsd: "0.01", source: SHEET }],
  ["bookmarks.write", "0.005", "A"],
  ["privacy.update", "0.01", "A"],
  ["mutes.delete", "0.005", "A"],
  ["dm.create", "0.015", "B"],
  ["dm.create@chat.message", "0", "B", { strictUsd: "0.015", source: SHEET }],
  ["lists.create", "0.01", "A"],
  ["lists.manage", "0.005", "A"],
  ["media.upload", "0.01", "B", { strictUsd: "0.015", source: SHEET }],
  ["media.upload_bytes", "0", "B", { source: SHEET }],
  ["media.metadata", "0.005", "A"],
  ["mcp.tool_calls", "0", "B", { source: "docs.x.com tools/mcp: a tool costs what its endpoint does" }],
];

const X_PRICES = X_ROWS.map(
  ([category, usd, confidence, more]): ConnectorPriceRow => ({
    connector: "x",
    category,
    usd,
    from: LAUNCH,
    source: PAGE,
    checked: "2026-10-01",
    confidence,
    ...more,
  }),
);

const GMAIL_QUOTA = "developers.google.com/workspace/gmail/api/reference/quota";

/** The day from which Google counts towards the units that are free. */
const GMAIL_UNITS = "2026-05-01";

/** reference/connectors.md section 4.2: what Google means to charge for is units, and nothing else. */
const GMAIL_FREE = `messages.sent messages.read messages.listed messages.inserted messages.modified messages.deleted recipients recipients_unknown
  attachments.read attachments.bytes threads.read threads.listed threads.modified threads.deleted drafts.written drafts.read drafts.listed
  drafts.deleted history.records labels.read labels.written profile.read settings.read settings.written watch.requests batch.requests`.split(/\s+/);

const GMAIL_PRICES: readonly ConnectorPriceRow[] = [
  // Free up to 80,000,000 units a day for a project. Charges above are announced, without a price and at 90 days' notice.
  { connector: "gmail", category: "quota_units", usd: "0", from: GMAIL_UNITS, source: GMAIL_QUOTA, checked: "2026-09-10", confidence: "B" },
  ...GMAIL_FREE.map((category): ConnectorPriceRow => ({ connector: "gmail", category, usd: "0", from: GMAIL_UNITS, source: GMAIL_QUOTA, checked: "2026-09-10", confidence: "A" })),
];

export const CONNECTOR_PRICES: readonly ConnectorPriceRow[] = [...X_PRICES, ...GMAIL_PRICES];
