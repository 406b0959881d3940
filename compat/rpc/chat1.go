package rpc

import (
	"bytes"
	"context"
	"fmt"

	"github.com/keystead/keystead/chatlog/gregor"
	"github.com/keystead/keystead/compat/wire/chat1"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// The inbox as long as no conversation is kept. A version of 0 means "none" to
// clients, so an empty inbox begins at 1; what is kept later counts up from there.
const emptyInboxVers chat1.InboxVers = 1

// cacheVers breaks clients' caches when it changes: both parts stay for good unless
// the stored form of conversations or messages does.
// client: go/chat/storage/version.go:ServerVersions
var cacheVers = chat1.ServerCacheVers{InboxVers: 1, BodiesVers: 1}

// syncAll authenticates the connection and brings the client up to date in one
// answer. The gregor part is the whole state for a client that has just started, which
// loads it as it is, and what happened since for one that was connected before, which
// checks the state's hash after it and asks for the state if it is another.
// client: go/service/gregor.go:OnConnect, go/gregor/client/client.go:Client.Sync
func syncAll(ctx context.Context, c *conn, arg chat1.SyncAllArg) (any, error) {
	id, err := c.authenticate(ctx, arg.Session)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(arg.UID, id.UID[:]) || !bytes.Equal(arg.DeviceID, id.Device[:]) {
		return nil, badSession("the session is not the named device's")
	}
	if arg.Fresh {
		arg.CTime = 0
	}
	welcome, err := c.subscribe(ctx, id, arg.CTime)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", id.UID, err)
	}
	inbox := inboxRes(arg.InboxVers)
	return answerThen{chat1.SyncAllResult{
		Auth:         id.authResult(),
		Chat:         chat1.SyncChatRes{CacheVers: cacheVers, InboxRes: inbox},
		Notification: notification(welcome),
		Badge:        unread(inbox.Typ),
	}, c.releaseSettled}, nil
}

func notification(w gregor.Welcome) chat1.SyncAllNotificationRes {
	if w.Sync != nil {
		return chat1.SyncAllNotificationRes{Typ: chat1.SyncAllNotificationIncremental, Incremental: w.Sync}
	}
	return chat1.SyncAllNotificationRes{Typ: chat1.SyncAllNotificationState, State: w.State}
}

// inboxRes tells a client whether its inbox is this one. CLEAR is always right; it
// makes the client ask for the inbox when it needs it, and adopt the version of that
// answer, so that the next sync is CURRENT.
func inboxRes(theirs chat1.InboxVers) chat1.SyncInboxRes {
	if theirs == emptyInboxVers {
		return chat1.SyncInboxRes{Typ: chat1.SyncInboxCurrent}
	}
	return chat1.SyncInboxRes{Typ: chat1.SyncInboxClear}
}

func unread(typ chat1.SyncInboxResType) chat1.UnreadUpdateFull {
	return chat1.UnreadUpdateFull{InboxVers: emptyInboxVers, InboxSyncStatus: typ, Updates: []chat1.UnreadUpdate{}}
}

func syncChat(_ context.Context, _ *conn, arg chat1.SyncChatArg) (any, error) {
	return chat1.SyncChatRes{CacheVers: cacheVers, InboxRes: inboxRes(arg.Vers)}, nil
}

func syncInbox(_ context.Context, _ *conn, arg chat1.SyncInboxArg) (any, error) {
	return inboxRes(arg.Vers), nil
}

func getUnreadUpdateFull(_ context.Context, _ *conn, arg chat1.GetUnreadUpdateFullArg) (any, error) {
	return unread(inboxRes(arg.InboxVers).Typ), nil
}

func getInboxVersion(_ context.Context, c *conn, arg chat1.GetInboxVersionArg) (any, error) {
	if err := c.session().own(arg.UID, nil); err != nil {
		return nil, err
	}
	return emptyInboxVers, nil
}

// getInboxRemote answers FULL whatever the client has: it looks for nothing else.
func getInboxRemote(context.Context, *conn, chat1.GetInboxRemoteArg) (any, error) {
	full := &chat1.InboxViewFull{Vers: emptyInboxVers, Conversations: []chat1.Conversation{}}
	return chat1.GetInboxRemoteRes{Inbox: chat1.InboxView{RType: chat1.InboxFull, Full: full}}, nil
}

func noConversations(context.Context, *conn, chat1.NoArg) (any, error) {
	return chat1.ConversationsRes{Conversations: []chat1.Conversation{}}, nil
}

// globalSettings are the defaults of a user who has set nothing. The map must be
// there: clients write into it.
func globalSettings(context.Context, *conn, chat1.NoArg) (any, error) {
	return chat1.GlobalAppNotificationSettings{Settings: map[chat1.GlobalAppNotificationSetting]bool{
		chat1.SettingNewMessages:        true,
		chat1.SettingPlaintextMobile:    true,
		chat1.SettingDefaultSoundMobile: false,
		chat1.SettingDisableTyping:      false,
	}}, nil
}

func noResetConversations(context.Context, *conn, chat1.NoArg) (any, error) {
	return chat1.GetResetConversationsRes{ResetConvs: []struct{}{}}, nil
}

func noDefaultChannels(context.Context, *conn, chat1.NoArg) (any, error) {
	return chat1.GetDefaultTeamChannelsRes{Convs: [][]byte{}}, nil
}

func neverActive(context.Context, *conn, chat1.NoArg) (any, error) {
	return chat1.GetLastActiveAtRes{}, nil
}

func noExternalKeys(context.Context, *conn, chat1.NoArg) (any, error) { return []struct{}{}, nil }

func serverNow(_ context.Context, c *conn, _ chat1.NoArg) (any, error) {
	return chat1.ServerNowRes{Now: gregor1.Time(c.srv.opts.Clock().UnixMilli())}, nil
}
