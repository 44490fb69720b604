/**
 * The table of reference/connectors.md section 3.3 as it is written there, apart from slack-routes.ts: by category, what
 * is counted (1, or the array whose length is), and the methods. `admin.*` is spelt out, from @slack/web-api 8.2.0.
 */

export interface TableRow {
  /** Undefined: nothing. */
  readonly category: string | undefined;
  /** 1, or where the array stands. */
  readonly counts: 1 | string;
  /** Further categories, by where their arrays stand. */
  readonly also?: Readonly<Record<string, string>>;
  readonly methods: string;
}

export const TABLE: readonly TableRow[] = [
  { category: "messages.sent", counts: 1, methods: "chat.meMessage chat.postMessage chat.startStream" },
  { category: "messages.sent_ephemeral", counts: 1, methods: "chat.postEphemeral" },
  { category: "messages.scheduled", counts: 1, methods: "chat.scheduleMessage" },
  { category: "messages.updated", counts: 1, methods: "chat.update" },
  { category: "messages.stream_updates", counts: 1, methods: "chat.appendStream chat.stopStream" },
  { category: "messages.deleted", counts: 1, methods: "chat.delete chat.deleteScheduledMessage" },
  { category: "messages.unfurled", counts: 1, methods: "chat.unfurl entity.presentDetails" },
  { category: "messages.read", counts: "messages", methods: "conversations.history conversations.replies" },
  { category: "messages.read", counts: 1, methods: "reactions.get" },
  { category: "scheduled_messages.read", counts: "scheduled_messages", methods: "chat.scheduledMessages.list" },
  { category: "items.read", counts: "items", methods: "pins.list reactions.list stars.list" },
  { category: "items.read", counts: "bookmarks", methods: "bookmarks.list" },
  { category: "items.read", counts: "reminders", methods: "reminders.list" },
  { category: "items.read", counts: 1, methods: "reminders.info" },
  { category: "search.requests", counts: 1, also: { "messages.read": "messages.matches", "files.read": "files.matches" }, methods: "search.all search.files search.messages" },
  { category: "search.requests", counts: 1, also: { "messages.read": "results.messages", "files.read": "results.files", "channels.read": "results.channels", "users.read": "results.users" }, methods: "assistant.search.context" },
  { category: "users.read", counts: "members", methods: "users.list" },
  { category: "users.read", counts: 1, methods: `bots.info openid.connect.userInfo users.identity users.info users.lookupByEmail users.profile.get` },
  { category: "members.listed", counts: "members", methods: "conversations.members" },
  { category: "members.listed", counts: "users", methods: "usergroups.users.list" },
  { category: "presence.read", counts: 1, methods: "dnd.info dnd.teamInfo users.discoverableContacts.lookup users.getPresence" },
  { category: "channels.read", counts: "channels", methods: "conversations.list users.conversations" },
  { category: "channels.read", counts: 1, methods: "conversations.info" },
  { category: "channels.read", counts: "invites", methods: "conversations.listConnectInvites" },
  { category: "channels.read", counts: "invite_requests", methods: "conversations.requestSharedInvite.list" },
  { category: "canvases.write", counts: 1, methods: `canvases.access.delete canvases.access.set canvases.create canvases.delete canvases.edit
     conversations.canvases.create` },
  { category: "channels.write", counts: 1, methods: `conversations.acceptSharedInvite conversations.approveSharedInvite conversations.archive conversations.close
     conversations.create conversations.declineSharedInvite conversations.externalInvitePermissions.set
     conversations.invite conversations.inviteShared conversations.join conversations.kick conversations.leave
     conversations.mark conversations.open conversations.rename conversations.requestSharedInvite.approve
     conversations.requestSharedInvite.deny conversations.setPurpose conversations.setTopic
     conversations.unarchive` },
  { category: "files.read", counts: "files", methods: "files.list files.remote.list" },
  { category: "files.read", counts: 1, methods: "files.info files.remote.info" },
  { category: "files.uploaded", counts: "files", methods: "files.completeUploadExternal" },
  { category: "files.uploaded", counts: 1, methods: "files.remote.add files.upload" },
  { category: undefined, counts: 1, methods: "files.getUploadURLExternal" },
  { category: "files.write", counts: 1, methods: `files.comments.delete files.delete files.remote.remove files.remote.share files.remote.update
     files.revokePublicURL files.sharedPublicURL` },
  { category: "items.write", counts: 1, methods: `bookmarks.add bookmarks.edit bookmarks.remove pins.add pins.remove reactions.add reactions.remove reminders.add
     reminders.complete reminders.delete stars.add stars.remove` },
  { category: "views.write", counts: 1, methods: "dialog.open views.open views.publish views.push views.update" },
  { category: "canvases.read", counts: "sections", methods: "canvases.sections.lookup" },
  { category: "list_items.read", counts: "items", methods: "slackLists.items.list" },
  { category: "list_items.read", counts: 1, methods: "slackLists.items.info" },
  { category: "lists.write", counts: 1, methods: `slackLists.access.delete slackLists.access.set slackLists.create slackLists.download.get
     slackLists.download.start slackLists.items.create slackLists.items.delete slackLists.items.deleteMultiple
     slackLists.items.update slackLists.update` },
  { category: "usergroups.read", counts: "usergroups", methods: "usergroups.list" },
  { category: "usergroups.write", counts: 1, methods: `usergroups.create usergroups.disable usergroups.enable usergroups.update usergroups.users.update` },
  { category: "users.write", counts: 1, methods: `dnd.endDnd dnd.endSnooze dnd.setSnooze users.deletePhoto users.profile.set users.setPhoto users.setPresence
     users.setActive` },
  { category: "logs.read", counts: "logins", methods: "team.accessLogs" },
  { category: "logs.read", counts: "logs", methods: "team.integrationLogs" },
  { category: "team.read", counts: 1, methods: `emoji.list migration.exchange team.billableInfo team.billing.info team.externalTeams.disconnect
     team.externalTeams.list team.info team.preferences.list team.profile.get` },
  { category: "calls.requests", counts: 1, methods: `calls.add calls.end calls.info calls.participants.add calls.participants.remove calls.update` },
  { category: "automation.requests", counts: 1, methods: `agents.conversations.archive agents.conversations.create agents.conversations.getCanvas
     agents.conversations.listViews agents.conversations.removeView agents.conversations.setCanvasContent
     agents.conversations.setCommands agents.conversations.setProperties agents.conversations.setView
     agents.sessions.rename agents.sessions.setStatus assistant.threads.setStatus
     assistant.threads.setSuggestedPrompts assistant.threads.setTitle functions.completeError
     functions.completeSuccess workflows.featured.add workflows.featured.list workflows.featured.remove
     workflows.featured.set assistant.search.info workflows.stepCompleted workflows.stepFailed
     workflows.updateStep` },
  { category: "admin.requests", counts: 1, methods: `admin.analytics.getFile admin.apps.activities.list admin.apps.approve admin.apps.approved.list
     admin.apps.clearResolution admin.apps.config.lookup admin.apps.config.set admin.apps.requests.cancel
     admin.apps.requests.list admin.apps.restrict admin.apps.restricted.list admin.apps.uninstall
     admin.auth.policy.assignEntities admin.auth.policy.getEntities admin.auth.policy.removeEntities
     admin.barriers.create admin.barriers.delete admin.barriers.list admin.barriers.update
     admin.conversations.archive admin.conversations.bulkArchive admin.conversations.bulkDelete
     admin.conversations.bulkMove admin.conversations.convertToPrivate admin.conversations.convertToPublic
     admin.conversations.create admin.conversations.delete admin.conversations.disconnectShared
     admin.conversations.ekm.listOriginalConnectedChannelInfo admin.conversations.getConversationPrefs
     admin.conversations.getCustomRetention admin.conversations.getTeams admin.conversations.invite
     admin.conversations.lookup admin.conversations.removeCustomRetention admin.conversations.rename
     admin.conversations.restrictAccess.addGroup admin.conversations.restrictAccess.listGroups
     admin.conversations.restrictAccess.removeGroup admin.conversations.search
     admin.conversations.setConversationPrefs admin.conversations.setCustomRetention
     admin.conversations.setTeams admin.conversations.unarchive admin.emoji.add admin.emoji.addAlias
     admin.emoji.list admin.emoji.remove admin.emoji.rename admin.functions.list
     admin.functions.permissions.lookup admin.functions.permissions.set admin.inviteRequests.approve
     admin.inviteRequests.approved.list admin.inviteRequests.denied.list admin.inviteRequests.deny
     admin.inviteRequests.list admin.roles.addAssignments admin.roles.listAssignments
     admin.roles.removeAssignments admin.teams.admins.list admin.teams.create admin.teams.list
     admin.teams.owners.list admin.teams.settings.info admin.teams.settings.setDefaultChannels
     admin.teams.settings.setDescription admin.teams.settings.setDiscoverability admin.teams.settings.setIcon
     admin.teams.settings.setName admin.usergroups.addChannels admin.usergroups.addTeams
     admin.usergroups.listChannels admin.usergroups.removeChannels admin.users.assign admin.users.getExpiration
     admin.users.invite admin.users.list admin.users.remove admin.users.session.clearSettings
     admin.users.session.getSettings admin.users.session.invalidate admin.users.session.list
     admin.users.session.reset admin.users.session.resetBulk admin.users.session.setSettings
     admin.users.setAdmin admin.users.setExpiration admin.users.setOwner admin.users.setRegular
     admin.users.unsupportedVersions.export admin.workflows.collaborators.add
     admin.workflows.collaborators.remove admin.workflows.permissions.lookup admin.workflows.search
     admin.workflows.unpublish` },
  { category: undefined, counts: 1, methods: `api.test apps.connections.open apps.event.authorizations.list apps.manifest.create apps.manifest.delete
     apps.manifest.export apps.manifest.update apps.manifest.validate apps.uninstall apps.user.connection.update
     auth.revoke auth.teams.list auth.test blocks.validate chat.getPermalink oauth.access openid.connect.token
     rtm.connect tooling.tokens.rotate oauth.v2.access oauth.v2.exchange oauth.token rtm.start` },
];
