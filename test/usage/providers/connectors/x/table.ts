/**
 * The route table of reference/connectors.md section 2.5 as it stands there: method, path, category and rule, written down
 * apart from the connector's own rows so that a slip in those shows. R: the length of `data`, and includes. S: one for each
 * line. Q: one for each request. 0: nothing. "own": owned reads.
 */

export interface TableLine {
  readonly method: string;
  readonly path: string;
  readonly category: string;
  readonly rule: string;
  readonly isOwnable: boolean;
}

const TABLE = `
GET /2/tweets posts.read R
GET /2/tweets/{id} posts.read R
GET /2/tweets/search/recent posts.read R
GET /2/tweets/search/all posts.read R
GET /2/tweets/{id}/quote_tweets posts.read R
GET /2/tweets/{id}/retweets posts.read R
GET /2/lists/{id}/tweets posts.read R
GET /2/spaces/{id}/tweets posts.read R
GET /2/users/reposts_of_me posts.read R
GET /2/users/{id}/timelines/reverse_chronological posts.read R
GET /2/users/{id}/tweets posts.read R own
GET /2/users/{id}/mentions posts.read R own
GET /2/users/{id}/liked_tweets posts.read R own
GET /2/users/{id}/bookmarks posts.read R own
GET /2/users/{id}/bookmarks/folders/{folder_id} posts.read R
GET /2/users/{id}/bookmarks/folders bookmark_folders.read R
GET /2/notes/search/posts_eligible_for_notes posts.read R
GET /2/users users.read R
GET /2/users/by users.read R
GET /2/users/by/username/{username} users.read R
GET /2/users/{id} users.read R
GET /2/users/me users.read R
GET /2/users/search users.read R
GET /2/users/{id}/affiliates users.read R
GET /2/users/{id}/followers follows.read R own
GET /2/users/{id}/following follows.read R own
GET /2/users/{id}/blocking users.read R own
GET /2/users/{id}/muting users.read R own
GET /2/lists/{id}/followers users.read R
GET /2/lists/{id}/members users.read R
GET /2/tweets/{id}/retweeted_by users.read R
GET /2/tweets/{id}/liking_users users.read R
GET /2/spaces/{id}/buyers users.read R
GET /2/users/public_keys public_keys.read R
GET /2/users/{id}/public_keys public_keys.read R
GET /2/dm_events dm_events.read R
GET /2/dm_events/{event_id} dm_events.read R
GET /2/dm_conversations/{id}/dm_events dm_events.read R
GET /2/dm_conversations/with/{participant_id}/dm_events dm_events.read R
GET /2/chat/conversations dm_events.read R
GET /2/chat/conversations/{id} dm_events.read R
GET /2/chat/conversations/{id}/events dm_events.read R
GET /2/dm_conversations/media/{dm_id}/{media_id}/{resource_id} media.downloaded Q
GET /2/chat/media/{id}/{media_hash_key} media.downloaded Q
GET /2/lists/{id} lists.read R
GET /2/users/{id}/owned_lists lists.read R own
GET /2/users/{id}/followed_lists lists.read R own
GET /2/users/{id}/list_memberships lists.read R own
GET /2/users/{id}/pinned_lists lists.read R own
GET /2/spaces spaces.read R
GET /2/spaces/{id} spaces.read R
GET /2/spaces/by/creator_ids spaces.read R
GET /2/spaces/search spaces.read R
GET /2/communities/{id} communities.read R
GET /2/communities/search communities.read R
GET /2/news/search news.read R
GET /2/news/{id} news.read R
GET /2/notes/search/notes_written notes.read R
GET /2/media media.read R
GET /2/media/{media_key} media.read R
GET /2/tweets/analytics analytics.read R
GET /2/media/analytics analytics.read R
GET /2/insights/28hr analytics.read R
GET /2/insights/historical analytics.read R
GET /2/broadcasts broadcasts.read R
GET /2/broadcasts/scheduled broadcasts.read R
GET /2/broadcasts/scheduled/{id} broadcasts.read R
GET /2/broadcasts/{id} broadcasts.read R
GET /2/broadcasts/{id}/chat broadcast_chat.read R
GET /2/tweets/counts/recent counts.recent Q
GET /2/tweets/counts/all counts.all Q
GET /2/trends/by/woeid/{woeid} trends.requests Q
GET /2/users/personalized_trends trends.requests Q
GET /2/tweets/search/stream posts.read S
GET /2/tweets/sample/stream posts.read S
GET /2/tweets/sample10/stream posts.read S
GET /2/tweets/firehose/stream posts.read S
GET /2/tweets/firehose/stream/lang/{lang} posts.read S
GET /2/powerstream posts.read S
GET /2/likes/firehose/stream likes.read S
GET /2/likes/sample10/stream likes.read S
GET /2/tweets/compliance/stream compliance.events S
GET /2/tweets/label/stream compliance.events S
GET /2/likes/compliance/stream compliance.events S
GET /2/users/compliance/stream compliance.events S
GET /2/activity/stream activity.events S
POST /2/tweets posts.create Q
DELETE /2/tweets/{id} content.manage Q
PUT /2/tweets/{tweet_id}/hidden content.manage Q
POST /2/articles/draft articles.write Q
POST /2/articles/{article_id}/publish articles.write Q
POST /2/notes notes.write 0
DELETE /2/notes/{id} notes.write 0
POST /2/notes/evaluate notes.write 0
POST /2/evaluate_note notes.write 0
POST /2/users/{id}/retweets interactions.create Q
DELETE /2/users/{id}/retweets/{source_tweet_id} interactions.delete Q
POST /2/users/{id}/likes interactions.create Q
DELETE /2/users/{id}/likes/{tweet_id} interactions.delete Q
POST /2/users/{id}/following interactions.create Q
DELETE /2/users/{source_user_id}/following/{target_user_id} interactions.delete Q
POST /2/users/{id}/bookmarks bookmarks.write Q
DELETE /2/users/{id}/bookmarks/{tweet_id} bookmarks.write Q
POST /2/users/{id}/bookmarks/folders bookmark_folders.write 0
POST /2/users/{id}/muting privacy.update Q
DELETE /2/users/{source_user_id}/muting/{target_user_id} mutes.delete Q
POST /2/users/{id}/dm/block privacy.update Q
POST /2/users/{id}/dm/unblock privacy.update Q
DELETE /2/dm_events/{event_id} interactions.delete Q
POST /2/dm_conversations dm.create Q
POST /2/dm_conversations/with/{participant_id}/messages dm.create Q
POST /2/dm_conversations/{dm_conversation_id}/messages dm.create Q
POST /2/chat/conversations/{id}/messages dm.create Q
POST /2/chat/conversations/group chat.manage 0
POST /2/chat/conversations/group/initialize chat.manage 0
POST /2/chat/conversations/{id}/keys chat.manage 0
POST /2/chat/conversations/{id}/members chat.manage 0
POST /2/chat/conversations/{id}/messages/delete chat.manage 0
POST /2/chat/conversations/{id}/read chat.manage 0
POST /2/chat/conversations/{id}/typing chat.manage 0
POST /2/users/{id}/public_keys chat.manage 0
POST /2/lists lists.create Q
POST /2/lists/{id}/members lists.create Q
POST /2/users/{id}/followed_lists lists.create Q
POST /2/users/{id}/pinned_lists lists.create Q
PUT /2/lists/{id} lists.manage Q
DELETE /2/lists/{id} lists.manage Q
DELETE /2/lists/{id}/members/{user_id} lists.manage Q
DELETE /2/users/{id}/followed_lists/{list_id} lists.manage Q
DELETE /2/users/{id}/pinned_lists/{list_id} lists.manage Q
POST /2/media/upload media.upload Q
GET /2/media/upload media.status 0
POST /2/media/upload/initialize media.upload_steps 0
POST /2/media/upload/{id}/append media.upload_steps 0
POST /2/media/upload/{id}/finalize media.upload Q
POST /2/media/metadata media.metadata Q
POST /2/media/subtitles media.metadata Q
DELETE /2/media/subtitles media.metadata Q
POST /2/chat/media/upload/initialize media.upload_steps 0
POST /2/chat/media/upload/{id}/append media.upload_steps 0
POST /2/chat/media/upload/{id}/finalize media.upload Q
POST /2/broadcasts/scheduled broadcasts.write Q
PUT /2/broadcasts/scheduled/{id} broadcasts.write Q
DELETE /2/broadcasts/scheduled/{id} broadcasts.write Q
POST /2/broadcasts/scheduled/{id}/live broadcasts.write Q
POST /2/broadcasts/{id}/chat broadcasts.write Q
POST /2/broadcasts/{id}/chat/mutes broadcasts.write Q
DELETE /2/broadcasts/{id}/chat/mutes/{user_id} broadcasts.write Q
DELETE /2/broadcasts/{id}/chat/{message_id} broadcasts.write Q
GET /2/tweets/search/stream/rules none 0
POST /2/tweets/search/stream/rules none 0
GET /2/tweets/search/stream/rules/counts none 0
GET /2/powerstream/rules none 0
POST /2/powerstream/rules none 0
DELETE /2/powerstream/rules none 0
GET /2/tweets/search/webhooks none 0
POST /2/tweets/search/webhooks/{webhook_id} none 0
DELETE /2/tweets/search/webhooks/{webhook_id} none 0
GET /2/activity/subscriptions none 0
POST /2/activity/subscriptions none 0
DELETE /2/activity/subscriptions none 0
PUT /2/activity/subscriptions/{subscription_id} none 0
DELETE /2/activity/subscriptions/{subscription_id} none 0
GET /2/account_activity/subscriptions/count none 0
GET /2/account_activity/webhooks/{webhook_id}/subscriptions/all none 0
POST /2/account_activity/webhooks/{webhook_id}/subscriptions/all none 0
GET /2/account_activity/webhooks/{webhook_id}/subscriptions/all/list none 0
DELETE /2/account_activity/webhooks/{webhook_id}/subscriptions/{user_id}/all none 0
POST /2/account_activity/replay/webhooks/{webhook_id}/subscriptions/all none 0
GET /2/webhooks none 0
POST /2/webhooks none 0
PUT /2/webhooks/{webhook_id} none 0
DELETE /2/webhooks/{webhook_id} none 0
POST /2/webhooks/replay none 0
GET /2/compliance/jobs none 0
POST /2/compliance/jobs none 0
GET /2/compliance/jobs/{id} none 0
GET /2/connections none 0
DELETE /2/connections none 0
DELETE /2/connections/all none 0
DELETE /2/connections/{endpoint_id} none 0
GET /2/usage/tweets none 0
GET /2/usage/credits none 0
GET /2/openapi.json none 0
`;

export const X_TABLE: readonly TableLine[] = TABLE.trim().split("\n").map((line) => {
  const [method = "", path = "", category = "", rule = "", own] = line.split(" ");
  return { method, path, category, rule, isOwnable: own === "own" };
});
