/**
 * Every route of the X API and what it counts, as rows; x.ts makes routes of the connector language from them. Source:
 * reference/connectors.md section 2.5 (checked there against X's OpenAPI 2.159 and 2.167). The MCP tool names are those
 * of X's hosted server (snake case of the OpenAPI operation ids, seen in 2026).
 */

interface RowBase {
  /** The event's `route`. */
  readonly id: string;
  readonly methods: readonly string[];
  readonly paths: readonly string[];
  /** Names of the MCP tools that call this route. */
  readonly tools?: readonly string[];
}

/** Counts each element of `data` and the expanded objects of `includes`. */
export interface ResourcesRow extends RowBase {
  readonly rule: "resources";
  readonly category: string;
  /** Counts `owned_reads` where the path's {id} is the owner of the developer app. */
  readonly isOwnable?: boolean;
  /** The query parameter that lists what is asked for, where there is one. */
  readonly listedIn?: "ids" | "usernames" | "media_keys" | "user_ids" | "tweet_ids";
  /** Least and most of `max_results`; undefined: one element. */
  readonly page?: readonly [number, number];
  /** What tells an element from another; without it elements are not told apart. Default "id". */
  readonly idField?: "id" | "media_key" | "none";
}

/** Likewise, each line of an endless stream. */
export interface LinesRow extends RowBase {
  readonly rule: "lines";
  readonly category: string;
  readonly idField?: "id" | "none";
  readonly hook?: XHookName;
}

/** Counts one. */
export interface RequestRow extends RowBase {
  readonly rule: "request";
  readonly category: string;
  readonly hook?: XHookName;
}

/** Counts nothing. */
export interface FreeRow extends RowBase {
  readonly rule: "free";
}

export type XRow = ResourcesRow | LinesRow | RequestRow | FreeRow;

/** What the table cannot say: the files of x/. */
export type XHookName = "x.postCreate" | "x.mediaCommand" | "x.activityEvent";

type Line<Row extends RowBase> = readonly [id: string, paths: string, extras?: Omit<Row, keyof RowBase | "rule" | "category"> & Pick<RowBase, "tools">];

/** Pages of most lists. */
const PAGE = [1, 100] as const;
const LONG_PAGE = [1, 1000] as const;

/** GET routes that count what they return. Paths are parted by a space. */
function reads(category: string, lines: readonly Line<ResourcesRow>[]): readonly ResourcesRow[] {
  return lines.map(([id, paths, extras]) => ({ ...base("GET", id, paths), rule: "resources", category, ...extras }));
}

function streams(category: string, lines: readonly Line<LinesRow>[]): readonly LinesRow[] {
  return lines.map(([id, paths, extras]) => ({ ...base("GET", id, paths), rule: "lines", category, ...extras }));
}

/** Named "METHOD id"; several methods are parted by a comma. */
function requests(category: string, lines: readonly Line<RequestRow>[]): readonly RequestRow[] {
  return lines.map(([name, paths, extras]) => ({ ...named(name, paths), rule: "request", category, ...extras }));
}

function free(lines: readonly Line<FreeRow>[]): readonly FreeRow[] {
  return lines.map(([name, paths]) => ({ ...named(name, paths), rule: "free" }));
}

function named(name: string, paths: string): RowBase {
  const [methods = "", id = ""] = name.split(" ");
  return base(methods, id, paths);
}

function base(methods: string, id: string, paths: string): RowBase {
  return { id, methods: methods.split(","), paths: paths.split(" ") };
}

const OWNED = { isOwnable: true, page: PAGE } as const;
const OWNED_POSTS = { isOwnable: true, page: [5, 100] } as const;
const OWNED_PEOPLE = { isOwnable: true, page: LONG_PAGE } as const;

const POSTS_READ = reads("posts.read", [
  ["tweets.lookup", "/2/tweets /2/tweets/{id}", { listedIn: "ids", tools: ["get_posts_by_ids", "get_posts_by_id"] }],
  ["search.recent", "/2/tweets/search/recent", { page: [10, 100], tools: ["search_posts_recent"] }],
  ["search.all", "/2/tweets/search/all", { page: [10, 500], tools: ["search_posts_all"] }],
  ["tweets.quotes", "/2/tweets/{id}/quote_tweets", { page: [10, 100], tools: ["get_posts_quoted_posts"] }],
  ["tweets.retweets", "/2/tweets/{id}/retweets", { page: PAGE, tools: ["get_posts_reposts"] }],
  ["lists.tweets", "/2/lists/{id}/tweets", { page: PAGE, tools: ["get_lists_posts"] }],
  ["spaces.tweets", "/2/spaces/{id}/tweets", { page: PAGE, tools: ["get_spaces_posts"] }],
  ["users.reposts_of_me", "/2/users/reposts_of_me", { page: PAGE, tools: ["get_users_reposts_of_me"] }],
  ["users.timeline", "/2/users/{id}/timelines/reverse_chronological", { page: PAGE, tools: ["get_users_timeline"] }],
  ["users.tweets", "/2/users/{id}/tweets", { ...OWNED_POSTS, tools: ["get_users_posts"] }],
  ["users.mentions", "/2/users/{id}/mentions", { ...OWNED_POSTS, tools: ["get_users_mentions"] }],
  ["users.liked_tweets", "/2/users/{id}/liked_tweets", { ...OWNED_POSTS, tools: ["get_users_liked_posts"] }],
  ["bookmarks.list", "/2/users/{id}/bookmarks", { ...OWNED, tools: ["get_users_bookmarks"] }],
  ["bookmarks.folder", "/2/users/{id}/bookmarks/folders/{folder_id}", { page: PAGE, tools: ["get_users_bookmarks_by_folder_id"] }],
  ["notes.eligible_posts", "/2/notes/search/posts_eligible_for_notes", { page: PAGE, tools: ["search_eligible_posts"] }],
]);

const USERS_READ = reads("users.read", [
  ["users.lookup", "/2/users /2/users/{id}", { listedIn: "ids", tools: ["get_users_by_ids", "get_users_by_id"] }],
  ["users.by", "/2/users/by /2/users/by/username/{username}", { listedIn: "usernames", tools: ["get_users_by_usernames", "get_users_by_username"] }],
  ["users.me", "/2/users/me", { tools: ["get_users_me"] }],
  ["users.search", "/2/users/search", { page: LONG_PAGE, tools: ["search_users"] }],
  ["users.affiliates", "/2/users/{id}/affiliates", { page: LONG_PAGE, tools: ["get_users_affiliates"] }],
  ["users.blocking", "/2/users/{id}/blocking", { ...OWNED_PEOPLE, tools: ["get_users_blocking"] }],
  ["users.muting", "/2/users/{id}/muting", { ...OWNED_PEOPLE, tools: ["get_users_muting"] }],
  ["lists.followers", "/2/lists/{id}/followers", { page: PAGE, tools: ["get_lists_followers"] }],
  ["lists.members", "/2/lists/{id}/members", { page: PAGE, tools: ["get_lists_members"] }],
  ["tweets.retweeted_by", "/2/tweets/{id}/retweeted_by", { page: PAGE, tools: ["get_posts_reposted_by"] }],
  ["tweets.liking_users", "/2/tweets/{id}/liking_users", { page: PAGE, tools: ["get_posts_liking_users"] }],
  ["spaces.buyers", "/2/spaces/{id}/buyers", { page: PAGE, tools: ["get_spaces_buyers"] }],
]);

const OTHER_READS = [
  ...reads("follows.read", [
    ["users.followers", "/2/users/{id}/followers", { ...OWNED_PEOPLE, tools: ["get_users_followers"] }],
    ["users.following", "/2/users/{id}/following", { ...OWNED_PEOPLE, tools: ["get_users_following"] }],
  ]),
  ...reads("bookmark_folders.read", [["bookmarks.folders", "/2/users/{id}/bookmarks/folders", { page: PAGE, tools: ["get_users_bookmark_folders"] }]]),
  ...reads("public_keys.read", [
    ["public_keys.lookup", "/2/users/public_keys", { listedIn: "ids" }],
    ["public_keys.list", "/2/users/{id}/public_keys"],
  ]),
  ...reads("dm_events.read", [
    ["dm_events.list", "/2/dm_events", { page: PAGE, tools: ["get_direct_messages_events"] }],
    ["dm_events.lookup", "/2/dm_events/{event_id}", { tools: ["get_direct_messages_events_by_id"] }],
    [
      "dm_conversations.events",
      "/2/dm_conversations/{id}/dm_events /2/dm_conversations/with/{participant_id}/dm_events",
      { page: PAGE, tools: ["get_direct_messages_events_by_conversation_id", "get_direct_messages_events_by_participant_id"] },
    ],
    ["chat.conversations", "/2/chat/conversations", { page: PAGE }],
    ["chat.conversation", "/2/chat/conversations/{id}"],
    ["chat.events", "/2/chat/conversations/{id}/events", { page: PAGE }],
  ]),
  ...reads("lists.read", [
    ["lists.lookup", "/2/lists/{id}", { tools: ["get_lists_by_id"] }],
    ["lists.owned", "/2/users/{id}/owned_lists", { ...OWNED, tools: ["get_users_owned_lists"] }],
    ["lists.followed", "/2/users/{id}/followed_lists", { ...OWNED, tools: ["get_users_followed_lists"] }],
    ["lists.memberships", "/2/users/{id}/list_memberships", { ...OWNED, tools: ["get_users_list_memberships"] }],
    ["lists.pinned", "/2/users/{id}/pinned_lists", { ...OWNED, tools: ["get_users_pinned_lists"] }],
  ]),
  ...reads("spaces.read", [
    ["spaces.lookup", "/2/spaces /2/spaces/{id}", { listedIn: "ids", tools: ["get_spaces_by_ids", "get_spaces_by_id"] }],
    ["spaces.by_creators", "/2/spaces/by/creator_ids", { listedIn: "user_ids", tools: ["get_spaces_by_creator_ids"] }],
    ["spaces.search", "/2/spaces/search", { page: PAGE, tools: ["search_spaces"] }],
  ]),
  ...reads("communities.read", [
    ["communities.lookup", "/2/communities/{id}", { tools: ["get_communities_by_id"] }],
    ["communities.search", "/2/communities/search", { page: [10, 100], tools: ["search_communities"] }],
  ]),
  ...reads("news.read", [
    ["news.search", "/2/news/search", { page: PAGE, tools: ["search_news"] }],
    ["news.lookup", "/2/news/{id}", { tools: ["get_news"] }],
  ]),
  ...reads("notes.read", [["notes.written", "/2/notes/search/notes_written", { page: PAGE, tools: ["search_community_notes_written"] }]]),
  ...reads("media.read", [
    ["media.lookup", "/2/media /2/media/{media_key}", { listedIn: "media_keys", idField: "media_key", tools: ["get_media_by_media_keys", "get_media_by_media_key"] }],
  ]),
  ...reads("analytics.read", [
    ["tweets.analytics", "/2/tweets/analytics", { listedIn: "ids", idField: "none", tools: ["get_posts_analytics"] }],
    ["media.analytics", "/2/media/analytics", { listedIn: "media_keys", idField: "none", tools: ["get_media_analytics"] }],
    ["insights.recent", "/2/insights/28hr", { listedIn: "tweet_ids", idField: "none", tools: ["get_insights28_hr"] }],
    ["insights.historical", "/2/insights/historical", { listedIn: "tweet_ids", idField: "none", tools: ["get_insights_historical"] }],
  ]),
  ...reads("broadcasts.read", [
    ["broadcasts.lookup", "/2/broadcasts /2/broadcasts/{id}", { listedIn: "ids" }],
    ["broadcasts.scheduled", "/2/broadcasts/scheduled", { page: PAGE }],
    ["broadcasts.scheduled_lookup", "/2/broadcasts/scheduled/{id}"],
  ]),
  ...reads("broadcast_chat.read", [["broadcasts.chat", "/2/broadcasts/{id}/chat", { page: PAGE }]]),
];

const READ_REQUESTS = [
  ...requests("counts.recent", [["GET counts.recent", "/2/tweets/counts/recent", { tools: ["get_posts_counts_recent"] }]]),
  ...requests("counts.all", [["GET counts.all", "/2/tweets/counts/all", { tools: ["get_posts_counts_all"] }]]),
  ...requests("trends.requests", [
    ["GET trends.by_woeid", "/2/trends/by/woeid/{woeid}", { tools: ["get_trends_by_woeid"] }],
    ["GET trends.personalized", "/2/users/personalized_trends", { tools: ["get_trends_personalized_trends"] }],
  ]),
];

const STREAMS = [
  ...streams("posts.read", [
    ["search.stream", "/2/tweets/search/stream"],
    ["sample.stream", "/2/tweets/sample/stream /2/tweets/sample10/stream"],
    ["firehose.stream", "/2/tweets/firehose/stream /2/tweets/firehose/stream/lang/{lang}"],
    ["powerstream", "/2/powerstream"],
  ]),
  ...streams("likes.read", [["likes.stream", "/2/likes/firehose/stream /2/likes/sample10/stream"]]),
  ...streams("compliance.events", [
    ["compliance.tweets", "/2/tweets/compliance/stream /2/tweets/label/stream", { idField: "none" }],
    ["compliance.likes", "/2/likes/compliance/stream", { idField: "none" }],
    ["compliance.users", "/2/users/compliance/stream", { idField: "none" }],
  ]),
  ...streams("activity.events", [["activity.stream", "/2/activity/stream", { idField: "none", hook: "x.activityEvent" }]]),
];

const CONTENT = [
  ...requests("posts.create", [["POST tweets.create", "/2/tweets", { hook: "x.postCreate", tools: ["create_posts"] }]]),
  ...requests("content.manage", [
    ["DELETE tweets.delete", "/2/tweets/{id}", { tools: ["delete_posts"] }],
    ["PUT tweets.hide", "/2/tweets/{tweet_id}/hidden", { tools: ["hide_posts_reply"] }],
  ]),
  ...requests("articles.write", [
    ["POST articles.draft", "/2/articles/draft", { tools: ["create_articles_draft"] }],
    ["POST articles.publish", "/2/articles/{article_id}/publish", { tools: ["publish_articles"] }],
  ]),
  ...free([
    ["POST notes.create", "/2/notes"],
    ["DELETE notes.delete", "/2/notes/{id}"],
    ["POST notes.evaluate", "/2/notes/evaluate /2/evaluate_note"],
  ]),
];

const ENGAGEMENT = [
  ...requests("interactions.create", [
    ["POST retweets.create", "/2/users/{id}/retweets", { tools: ["repost_post"] }],
    ["POST likes.create", "/2/users/{id}/likes", { tools: ["like_post"] }],
    ["POST following.create", "/2/users/{id}/following", { tools: ["follow_user"] }],
  ]),
  ...requests("interactions.delete", [
    ["DELETE retweets.delete", "/2/users/{id}/retweets/{source_tweet_id}", { tools: ["unrepost_post"] }],
    ["DELETE likes.delete", "/2/users/{id}/likes/{tweet_id}", { tools: ["unlike_post"] }],
    ["DELETE following.delete", "/2/users/{source_user_id}/following/{target_user_id}", { tools: ["unfollow_user"] }],
    ["DELETE dm_events.delete", "/2/dm_events/{event_id}", { tools: ["delete_direct_messages_events"] }],
  ]),
  ...requests("bookmarks.write", [
    ["POST bookmarks.create", "/2/users/{id}/bookmarks", { tools: ["create_users_bookmark"] }],
    ["DELETE bookmarks.delete", "/2/users/{id}/bookmarks/{tweet_id}", { tools: ["delete_users_bookmark"] }],
  ]),
  ...requests("privacy.update", [
    ["POST muting.create", "/2/users/{id}/muting", { tools: ["mute_user"] }],
    ["POST dm_block.create", "/2/users/{id}/dm/block", { tools: ["block_users_dms"] }],
    ["POST dm_block.delete", "/2/users/{id}/dm/unblock", { tools: ["unblock_users_dms"] }],
  ]),
  ...requests("mutes.delete", [["DELETE muting.delete", "/2/users/{source_user_id}/muting/{target_user_id}", { tools: ["unmute_user"] }]]),
  ...free([["POST bookmarks.folder_create", "/2/users/{id}/bookmarks/folders"]]),
];

const MESSAGES = [
  ...requests("dm.create", [
    ["POST dm_conversations.create", "/2/dm_conversations", { tools: ["create_direct_messages_conversation"] }],
    [
      "POST dm_conversations.message",
      "/2/dm_conversations/with/{participant_id}/messages /2/dm_conversations/{dm_conversation_id}/messages",
      { tools: ["create_direct_messages_by_participant_id", "create_direct_messages_by_conversation_id"] },
    ],
    ["POST chat.message", "/2/chat/conversations/{id}/messages", { tools: ["send_chat_message"] }],
  ]),
  ...free([
    ["POST chat.group_create", "/2/chat/conversations/group"],
    ["POST chat.group_initialize", "/2/chat/conversations/group/initialize"],
    ["POST chat.keys", "/2/chat/conversations/{id}/keys"],
    ["POST chat.members", "/2/chat/conversations/{id}/members"],
    ["POST chat.messages_delete", "/2/chat/conversations/{id}/messages/delete"],
    ["POST chat.read", "/2/chat/conversations/{id}/read"],
    ["POST chat.typing", "/2/chat/conversations/{id}/typing"],
    ["POST public_keys.create", "/2/users/{id}/public_keys"],
  ]),
];

const LISTS = [
  ...requests("lists.create", [
    ["POST lists.create", "/2/lists", { tools: ["create_lists"] }],
    ["POST lists.member_add", "/2/lists/{id}/members", { tools: ["add_lists_member"] }],
    ["POST lists.follow", "/2/users/{id}/followed_lists", { tools: ["follow_list"] }],
    ["POST lists.pin", "/2/users/{id}/pinned_lists", { tools: ["pin_list"] }],
  ]),
  ...requests("lists.manage", [
    ["PUT lists.update", "/2/lists/{id}", { tools: ["update_lists"] }],
    ["DELETE lists.delete", "/2/lists/{id}", { tools: ["delete_lists"] }],
    ["DELETE lists.member_remove", "/2/lists/{id}/members/{user_id}", { tools: ["remove_lists_member_by_user_id"] }],
    ["DELETE lists.unfollow", "/2/users/{id}/followed_lists/{list_id}", { tools: ["unfollow_list"] }],
    ["DELETE lists.unpin", "/2/users/{id}/pinned_lists/{list_id}", { tools: ["unpin_list"] }],
  ]),
];

const MEDIA = [
  ...requests("media.metadata", [
    ["POST media.metadata", "/2/media/metadata", { tools: ["create_media_metadata"] }],
    ["POST media.subtitles", "/2/media/subtitles", { tools: ["create_media_subtitles"] }],
    ["DELETE media.subtitles_delete", "/2/media/subtitles", { tools: ["delete_media_subtitles"] }],
  ]),
  ...requests("media.upload", [
    ["POST media.finalize", "/2/media/upload/{id}/finalize /2/chat/media/upload/{id}/finalize"],
    ["POST media.upload", "/2/media/upload", { hook: "x.mediaCommand" }],
  ]),
  ...free([
    ["GET media.status", "/2/media/upload"],
    ["POST media.initialize", "/2/media/upload/initialize /2/chat/media/upload/initialize"],
  ]),
];

const BROADCASTS = requests("broadcasts.write", [
  ["POST broadcasts.schedule", "/2/broadcasts/scheduled"],
  ["PUT broadcasts.reschedule", "/2/broadcasts/scheduled/{id}"],
  ["DELETE broadcasts.cancel", "/2/broadcasts/scheduled/{id}"],
  ["POST broadcasts.live", "/2/broadcasts/scheduled/{id}/live"],
  ["POST broadcasts.chat_message", "/2/broadcasts/{id}/chat"],
  ["POST broadcasts.chat_mute", "/2/broadcasts/{id}/chat/mutes"],
  ["DELETE broadcasts.chat_unmute", "/2/broadcasts/{id}/chat/mutes/{user_id}"],
  ["DELETE broadcasts.chat_delete", "/2/broadcasts/{id}/chat/{message_id}"],
]);

/** Configuration, and the tokens that are handed out on the same hosts: not read, not kept. */
const CONFIGURATION = free([
  ["GET,POST stream.rules", "/2/tweets/search/stream/rules"],
  ["GET stream.rules_counts", "/2/tweets/search/stream/rules/counts"],
  ["GET,POST,DELETE powerstream.rules", "/2/powerstream/rules"],
  ["GET search.webhooks", "/2/tweets/search/webhooks"],
  ["POST,DELETE search.webhook", "/2/tweets/search/webhooks/{webhook_id}"],
  ["GET,POST,DELETE activity.subscriptions", "/2/activity/subscriptions"],
  ["PUT,DELETE activity.subscription", "/2/activity/subscriptions/{subscription_id}"],
  ["GET account_activity.count", "/2/account_activity/subscriptions/count"],
  ["GET,POST account_activity.subscriptions", "/2/account_activity/webhooks/{webhook_id}/subscriptions/all"],
  ["GET account_activity.list", "/2/account_activity/webhooks/{webhook_id}/subscriptions/all/list"],
  ["DELETE account_activity.unsubscribe", "/2/account_activity/webhooks/{webhook_id}/subscriptions/{user_id}/all"],
  ["POST account_activity.replay", "/2/account_activity/replay/webhooks/{webhook_id}/subscriptions/all"],
  ["GET,POST webhooks", "/2/webhooks"],
  ["PUT,DELETE webhooks.webhook", "/2/webhooks/{webhook_id}"],
  ["POST webhooks.replay", "/2/webhooks/replay"],
  ["GET,POST compliance.jobs", "/2/compliance/jobs"],
  ["GET compliance.job", "/2/compliance/jobs/{id}"],
  ["GET,DELETE connections", "/2/connections"],
  ["DELETE connections.all", "/2/connections/all"],
  ["DELETE connections.endpoint", "/2/connections/{endpoint_id}"],
  ["GET usage.tweets", "/2/usage/tweets"],
  ["GET usage.credits", "/2/usage/credits"],
  ["GET openapi", "/2/openapi.json"],
  ["* oauth", "/oauth/** /oauth2/** /2/oauth2/**"],
]);

export const X_ROWS: readonly XRow[] = [
  ...POSTS_READ,
  ...USERS_READ,
  ...OTHER_READS,
  ...READ_REQUESTS,
  ...STREAMS,
  ...CONTENT,
  ...ENGAGEMENT,
  ...MESSAGES,
  ...LISTS,
  ...MEDIA,
  ...BROADCASTS,
  ...CONFIGURATION,
];
