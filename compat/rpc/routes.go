package rpc

import (
	"context"

	"github.com/keystead/keystead/compat/wire/chat1"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// level is what a connection must be before a method is run.
type level int

const (
	levelNone    level = iota // anybody
	levelSession              // authenticated
)

// handler runs one method over a checked argument. A nil result is "void".
type handler func(ctx context.Context, c *conn, arg []byte) (any, error)

// route is one method. A nil handle means "not available yet".
type route struct {
	level  level
	class  class
	inline bool // answered by the reader itself; must be quick
	handle handler
}

// with makes a handler of a function over the decoded argument.
func with[A any](fn func(ctx context.Context, c *conn, arg A) (any, error)) handler {
	return func(ctx context.Context, c *conn, raw []byte) (any, error) {
		arg, err := decode[A](raw)
		if err != nil {
			return nil, err
		}
		return fn(ctx, c, arg)
	}
}

// routes is the table of all methods: everything that stock clients can call here.
func routes() map[string]route {
	t := make(map[string]route)
	add := func(protocol, method string, r route) { t[protocol+"."+method] = r }

	auth := gregor1.ProtocolAuth
	add(auth, "authenticateSessionToken", route{levelNone, classSmall, false, with(authenticateSessionToken)})

	incoming := gregor1.ProtocolIncoming
	add(incoming, "ping", route{levelNone, classSmall, true, with(ping)})
	add(incoming, "version", route{levelSession, classSmall, false, with(version)})
	add(incoming, "sync", route{levelSession, classSmall, false, with(gregorSync)})
	add(incoming, "state", route{levelSession, classSmall, false, with(gregorState)})
	add(incoming, "stateByCategoryPrefix", route{levelSession, classSmall, false, with(gregorStateByPrefix)})
	add(incoming, "consumeMessage", route{levelSession, classMedium, false, with(consumeMessage)})
	add(incoming, "describeConnectedUsers", route{levelSession, classSmall, false, with(describeConnectedUsers)})
	// These are calls among servers, here each user's own.
	add(incoming, "describeConnectedUsersInternal", route{levelSession, classSmall, false, with(describeConnectedUsers)})
	add(incoming, "consumePublishMessage", route{levelSession, classMedium, false, with(consumeMessage)})
	add(incoming, "consumeMessageMulti", route{levelSession, classMedium, false, with(consumeMessageMulti)})

	remind := gregor1.ProtocolRemind
	add(remind, "getReminders", route{levelSession, classSmall, false, with(getReminders)})
	add(remind, "deleteReminders", route{levelSession, classSmall, false, with(deleteReminders)})

	// No client calls these: a party of servers would, and here one process is all of
	// them. Sessions end by log-out, revocation or reset, and Server.Disconnect.
	// client: go/protocol/gregor1/auth_internal.go, go/protocol/gregor1/auth_update.go
	add(gregor1.ProtocolAuthInternal, "createGregorSuperUserSessionToken", route{levelSession, classSmall, false, serversOnly})
	add(gregor1.ProtocolAuthUpdate, "revokeSessionIDs", route{levelSession, classSmall, false, serversOnly})
	// Clients serve this one; a server that is called by it has nothing to show it to.
	add(gregor1.ProtocolOutgoing, "broadcastMessage", route{levelSession, classMedium, false, clientsOnly})

	addChat(func(method string, r route) { add(chat1.ProtocolRemote, method, r) })
	return t
}

// unavailable is a method that this server does not have yet. Its class is what its
// handler will need, so that the door's limits fit already.
func unavailable(c class) route { return route{level: levelSession, class: c} }

// addChat is the chat.1.remote part of the table.
func addChat(add func(method string, r route)) {
	add("syncAll", route{levelNone, classSmall, false, with(syncAll)})

	// What a client asks on its own before there is any conversation.
	add("syncChat", route{levelSession, classSmall, false, with(syncChat)})
	add("syncInbox", route{levelSession, classSmall, false, with(syncInbox)})
	add("getInboxRemote", route{levelSession, classMedium, false, with(getInboxRemote)})
	add("getInboxVersion", route{levelSession, classSmall, false, with(getInboxVersion)})
	add("GetUnreadUpdateFull", route{levelSession, classSmall, false, with(getUnreadUpdateFull)})
	add("getPublicConversations", route{levelSession, classSmall, false, with(noConversations)})
	add("getTLFConversations", route{levelSession, classSmall, false, with(noConversations)})
	add("getGlobalAppNotificationSettings", route{levelSession, classSmall, false, with(globalSettings)})
	add("getResetConversations", route{levelSession, classSmall, false, with(noResetConversations)})
	add("getDefaultTeamChannels", route{levelSession, classSmall, false, with(noDefaultChannels)})
	add("getLastActiveAt", route{levelSession, classSmall, false, with(neverActive)})
	add("getExternalAPIKeys", route{levelSession, classSmall, false, with(noExternalKeys)})
	add("serverNow", route{levelSession, classSmall, false, with(serverNow)})

	for _, m := range []string{
		"getMessagesRemote", "getThreadRemote", "getUnreadlineRemote", "getMessageBefore",
		"refreshParticipantsRemote", "removeFromConversation", "setDefaultTeamChannels", "s3Sign",
	} {
		add(m, unavailable(classMedium))
	}
	for _, m := range []string{"postRemote", "newConversationRemote2", "advertiseBotCommands"} {
		add(m, unavailable(classLarge))
	}
	for _, m := range []string{
		"newConversationRemote", "markAsRead", "SetConversationStatus", "updateTypingRemote",
		"joinConversation", "leaveConversation", "previewConversation", "deleteConversation",
		"setAppNotificationSettings", "setGlobalAppNotificationSettings",
		"setConvRetention", "setTeamRetention", "setConvMinWriterRole", "retentionSweepConv",
		"getS3Params", "clearBotCommands", "getBotInfo", "getRecentJoins", "tlfFinalize", "tlfResolve",
		"upgradeKBFSToImpteam", "registerSharePost", "failSharePost", "broadcastGregorMessageToConv",
		"teamIDOfConv",
	} {
		add(m, unavailable(classSmall))
	}
	// A phone calls this on a connection of its own that never authenticates.
	add("remoteNotificationSuccessful", route{level: levelNone, class: classSmall})
}
