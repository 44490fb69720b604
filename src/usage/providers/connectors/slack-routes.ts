/**
 * Slack's Web API as a table: which method counts what. Data only; slack.ts makes routes of it. Source:
 * reference/connectors.md section 3.3 (289 methods: those of @slack/web-api 8.2.0, `assistant.search.*`, OAuth and
 * retired ones). Counts are of a success; a method that is in no row counts `requests.other`.
 */

import type { Expr, Meter } from "./definition.ts";

/** Methods that count alike. */
export interface MethodRow {
  /** Undefined: token and setup calls, which count nothing and of which nothing is read. */
  readonly category: string | undefined;
  readonly count: Expr;
  /** Counted beside it. */
  readonly also?: readonly Meter[];
  /** Whether a lost answer may hide an effect. Nearly every call is a POST: the HTTP method does not tell. */
  readonly effect: "read" | "write";
  /** Separated by spaces. */
  readonly methods: string;
}

/** Every method of the table, by row. A method stands in one row only. */
export const METHOD_ROWS: readonly MethodRow[] = [
  row("messages.sent", 1, "write", "chat.meMessage chat.postMessage chat.startStream"),
  row("messages.sent_ephemeral", 1, "write", "chat.postEphemeral"),
  row("messages.scheduled", 1, "write", "chat.scheduleMessage"),
  row("messages.updated", 1, "write", "chat.update"),
  row("messages.stream_updates", 1, "write", "chat.appendStream chat.stopStream"),
  row("messages.deleted", 1, "write", "chat.delete chat.deleteScheduledMessage"),
  row("messages.unfurled", 1, "write", "chat.unfurl entity.presentDetails"),
  row("messages.read", { len: "messages" }, "read", "conversations.history conversations.replies"),
  row("messages.read", 1, "read", "reactions.get"),
  row("scheduled_messages.read", { len: "scheduled_messages" }, "read", "chat.scheduledMessages.list"),

  row("items.read", { len: "items" }, "read", "pins.list reactions.list stars.list"),
  row("items.read", { len: "bookmarks" }, "read", "bookmarks.list"),
  row("items.read", { len: "reminders" }, "read", "reminders.list"),
  row("items.read", 1, "read", "reminders.info"),
  row(
    "items.write",
    1,
    "write",
    `bookmarks.add bookmarks.edit bookmarks.remove pins.add pins.remove reactions.add reactions.remove
     reminders.add reminders.complete reminders.delete stars.add stars.remove`,
  ),

  row("search.requests", 1, "read", "search.files search.messages", [
    { category: "messages.read", count: { len: "messages.matches" } },
    { category: "files.read", count: { len: "files.matches" } },
  ]),
  row("search.requests", 1, "read", "search.all", [
    { category: "messages.read", count: { len: "messages.matches" } },
    { category: "files.read", count: { len: "files.matches" } },
    { category: "posts.read", count: { len: "posts.matches" } },
  ]),
  row("search.requests", 1, "read", "assistant.search.context", [
    { category: "messages.read", count: { len: "results.messages" } },
    { category: "files.read", count: { len: "results.files" } },
    { category: "channels.read", count: { len: "results.channels" } },
    { category: "users.read", count: { len: "results.users" } },
  ]),

  row("users.read", { len: "members" }, "read", "users.list"),
  row("users.read", 1, "read", "bots.info openid.connect.userInfo users.identity users.info users.lookupByEmail users.profile.get"),
  row("users.write", 1, "write", "dnd.endDnd dnd.endSnooze dnd.setSnooze users.deletePhoto users.profile.set users.setActive users.setPhoto users.setPresence"),
  row("members.listed", { len: "members" }, "read", "conversations.members"),
  row("members.listed", { len: "users" }, "read", "usergroups.users.list"),
  row("presence.read", 1, "read", "dnd.info dnd.teamInfo users.discoverableContacts.lookup users.getPresence"),
  row("usergroups.read", { len: "usergroups" }, "read", "usergroups.list"),
  row("usergroups.write", 1, "write", "usergroups.create usergroups.disable usergroups.enable usergroups.update usergroups.users.update"),

  row("channels.read", { len: "channels" }, "read", "conversations.list users.conversations"),
  row("channels.read", 1, "read", "conversations.info"),
  row("channels.read", { len: "invites" }, "read", "conversations.listConnectInvites"),
  row("channels.read", { len: "invite_requests" }, "read", "conversations.requestSharedInvite.list"),
  row(
    "channels.write",
    1,
    "write",
    `conversations.acceptSharedInvite conversations.approveSharedInvite conversations.archive conversations.close
     conversations.create conversations.declineSharedInvite conversations.externalInvitePermissions.set
     conversations.invite conversations.inviteShared conversations.join conversations.kick conversations.leave
     conversations.mark conversations.open conversations.rename conversations.requestSharedInvite.approve
     conversations.requestSharedInvite.deny conversations.setPurpose conversations.setTopic conversations.unarchive`,
  ),

  row("files.read", { len: "files" }, "read", "files.list files.remote.list"),
  row("files.read", 1, "read", "files.info files.remote.info"),
  row("files.uploaded", 1, "write", "files.remote.add files.upload"),
  row(
    "files.write",
    1,
    "write",
    `files.comments.delete files.delete files.remote.remove files.remote.share files.remote.update
     files.revokePublicURL files.sharedPublicURL`,
  ),

  row("canvases.read", { len: "sections" }, "read", "canvases.sections.lookup"),
  row("canvases.write", 1, "write", "canvases.access.delete canvases.access.set canvases.create canvases.delete canvases.edit conversations.canvases.create"),
  row("list_items.read", { len: "items" }, "read", "slackLists.items.list"),
  row("list_items.read", 1, "read", "slackLists.items.info"),
  row(
    "lists.write",
    1,
    "write",
    `slackLists.access.delete slackLists.access.set slackLists.create slackLists.download.start slackLists.items.create
     slackLists.items.delete slackLists.items.deleteMultiple slackLists.items.update slackLists.update`,
  ),
  row("lists.write", 1, "read", "slackLists.download.get"),
  row("views.write", 1, "write", "dialog.open views.open views.publish views.push views.update"),

  row("logs.read", { len: "logins" }, "read", "team.accessLogs"),
  row("logs.read", { len: "logs" }, "read", "team.integrationLogs"),
  row(
    "team.read",
    1,
    "read",
    `emoji.list migration.exchange team.billableInfo team.billing.info team.externalTeams.list team.info
     team.preferences.list team.profile.get`,
  ),
  row("team.read", 1, "write", "team.externalTeams.disconnect"),
  row("calls.requests", 1, "write", "calls.add calls.end calls.participants.add calls.participants.remove calls.update"),
  row("calls.requests", 1, "read", "calls.info"),

  row(
    "automation.requests",
    1,
    "write",
    `agents.conversations.archive agents.conversations.create agents.conversations.removeView
     agents.conversations.setCanvasContent agents.conversations.setCommands agents.conversations.setProperties
     agents.conversations.setView agents.sessions.rename agents.sessions.setStatus assistant.threads.setStatus
     assistant.threads.setSuggestedPrompts assistant.threads.setTitle functions.completeError functions.completeSuccess
     workflows.featured.add workflows.featured.remove workflows.featured.set workflows.stepCompleted
     workflows.stepFailed workflows.updateStep`,
  ),
  row(
    "automation.requests",
    1,
    "read",
    "agents.conversations.getCanvas agents.conversations.listViews assistant.search.info workflows.featured.list",
  ),

  row(
    "admin.requests",
    1,
    "read",
    `admin.analytics.getFile admin.apps.activities.list admin.apps.approved.list admin.apps.config.lookup
     admin.apps.requests.list admin.apps.restricted.list admin.auth.policy.getEntities admin.barriers.list
     admin.conversations.ekm.listOriginalConnectedChannelInfo admin.conversations.getConversationPrefs
     admin.conversations.getCustomRetention admin.conversations.getTeams admin.conversations.lookup
     admin.conversations.restrictAccess.listGroups admin.conversations.search admin.emoji.list admin.functions.list
     admin.functions.permissions.lookup admin.inviteRequests.approved.list admin.inviteRequests.denied.list
     admin.inviteRequests.list admin.roles.listAssignments admin.teams.admins.list admin.teams.list
     admin.teams.owners.list admin.teams.settings.info admin.usergroups.listChannels admin.users.getExpiration
     admin.users.list admin.users.session.getSettings admin.users.session.list admin.users.unsupportedVersions.export
     admin.workflows.permissions.lookup admin.workflows.search`,
  ),
  row(
    "admin.requests",
    1,
    "write",
    `admin.apps.approve admin.apps.clearResolution admin.apps.config.set admin.apps.requests.cancel admin.apps.restrict
     admin.apps.uninstall admin.auth.policy.assignEntities admin.auth.policy.removeEntities admin.barriers.create
     admin.barriers.delete admin.barriers.update admin.conversations.archive admin.conversations.bulkArchive
     admin.conversations.bulkDelete admin.conversations.bulkMove admin.conversations.convertToPrivate
     admin.conversations.convertToPublic admin.conversations.create admin.conversations.delete
     admin.conversations.disconnectShared admin.conversations.invite admin.conversations.removeCustomRetention
     admin.conversations.rename admin.conversations.restrictAccess.addGroup
     admin.conversations.restrictAccess.removeGroup admin.conversations.setConversationPrefs
     admin.conversations.setCustomRetention admin.conversations.setTeams admin.conversations.unarchive admin.emoji.add
     admin.emoji.addAlias admin.emoji.remove admin.emoji.rename admin.functions.permissions.set
     admin.inviteRequests.approve admin.inviteRequests.deny admin.roles.addAssignments admin.roles.removeAssignments
     admin.teams.create admin.teams.settings.setDefaultChannels admin.teams.settings.setDescription
     admin.teams.settings.setDiscoverability admin.teams.settings.setIcon admin.teams.settings.setName
     admin.usergroups.addChannels admin.usergroups.addTeams admin.usergroups.removeChannels admin.users.assign
     admin.users.invite admin.users.remove admin.users.session.clearSettings admin.users.session.invalidate
     admin.users.session.reset admin.users.session.resetBulk admin.users.session.setSettings admin.users.setAdmin
     admin.users.setExpiration admin.users.setOwner admin.users.setRegular admin.workflows.collaborators.add
     admin.workflows.collaborators.remove admin.workflows.unpublish`,
  ),

  row(
    undefined,
    0,
    "read",
    `api.test apps.connections.open apps.event.authorizations.list apps.manifest.create apps.manifest.delete
     apps.manifest.export apps.manifest.update apps.manifest.validate apps.uninstall apps.user.connection.update
     auth.revoke auth.teams.list auth.test blocks.validate chat.getPermalink oauth.access oauth.token oauth.v2.access
     oauth.v2.exchange openid.connect.token rtm.connect rtm.start tooling.tokens.rotate`,
  ),
];

/** The steps of an upload that have a hook, and therefore a route of their own (section 3.4). */
export const UPLOAD_METHODS = { announce: "files.getUploadURLExternal", complete: "files.completeUploadExternal" } as const;

function row(category: string | undefined, count: Expr, effect: MethodRow["effect"], methods: string, also?: readonly Meter[]): MethodRow {
  return { category, count, effect, methods, ...(also === undefined ? {} : { also }) };
}
