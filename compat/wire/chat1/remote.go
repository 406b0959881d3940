// Package chat1 spells the messages of the protocol chat.1.remote as stock clients
// read and write them: msgpack maps with these field names and numbers. Shapes
// only, no logic. It holds what the server speaks today; a conversation's records
// come with the server that keeps conversations.
//
// client: go/protocol/chat1/remote.go, common.go, gregor.go
package chat1

import (
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/compat/wire/keybase1"
)

// ProtocolRemote is the name of the protocol.
const ProtocolRemote = "chat.1.remote"

// InboxVers counts what has changed in one user's inbox; 0 is "none yet".
type InboxVers uint64

// SyncInboxResType tells a client what to do with the inbox it has.
type SyncInboxResType int

// Values of SyncInboxResType.
const (
	SyncInboxCurrent     SyncInboxResType = 0
	SyncInboxIncremental SyncInboxResType = 1
	SyncInboxClear       SyncInboxResType = 2
)

// SyncAllNotificationType tells which part of SyncAllNotificationRes is present.
type SyncAllNotificationType int

// Values of SyncAllNotificationType.
const (
	SyncAllNotificationState       SyncAllNotificationType = 0
	SyncAllNotificationIncremental SyncAllNotificationType = 1
)

// InboxResType tells which part of InboxView is present.
type InboxResType int

// Values of InboxResType. Clients take FULL for granted and crash on the other.
const (
	InboxVersionHit InboxResType = 0
	InboxFull       InboxResType = 1
)

// Conversation stands where a list of conversations does; the server keeps none
// yet, so every such list is empty.
type Conversation struct{}

// ServerCacheVers breaks client caches: a change wipes what clients have stored.
type ServerCacheVers struct {
	InboxVers  int `codec:"inboxVers"`
	BodiesVers int `codec:"bodiesVers"`
}

// SyncIncrementalRes is the conversations that changed since the client's version.
type SyncIncrementalRes struct {
	Vers  InboxVers      `codec:"vers"`
	Convs []Conversation `codec:"convs"`
}

// SyncInboxRes is a variant: Incremental is present for that type only.
type SyncInboxRes struct {
	Typ         SyncInboxResType    `codec:"typ"`
	Incremental *SyncIncrementalRes `codec:"incremental,omitempty"`
}

// SyncChatRes is the answer of syncChat and the chat part of syncAll.
type SyncChatRes struct {
	CacheVers ServerCacheVers `codec:"cacheVers"`
	InboxRes  SyncInboxRes    `codec:"inboxRes"`
}

// SyncAllNotificationRes is a variant over the gregor state.
type SyncAllNotificationRes struct {
	Typ         SyncAllNotificationType `codec:"typ"`
	State       *gregor1.State          `codec:"state,omitempty"`
	Incremental *gregor1.SyncResult     `codec:"incremental,omitempty"`
}

// UnreadUpdate is one conversation's unread counts.
type UnreadUpdate struct {
	ConvID                  []byte                      `codec:"convID"`
	UnreadMessages          int                         `codec:"unreadMessages"`
	UnreadNotifyingMessages map[keybase1.DeviceType]int `codec:"unreadNotifyingMessages"`
	CompatUnreadMessages    int                         `codec:"UnreadMessages"`
	Diff                    bool                        `codec:"diff"`
}

// UnreadUpdateFull sets the badge.
type UnreadUpdateFull struct {
	Ignore          bool             `codec:"ignore"`
	InboxVers       InboxVers        `codec:"inboxVers"`
	InboxSyncStatus SyncInboxResType `codec:"inboxSyncStatus"`
	Updates         []UnreadUpdate   `codec:"updates"`
}

// SyncAllArg is the first call on a connection and authenticates it.
type SyncAllArg struct {
	UID              []byte       `codec:"uid"`
	DeviceID         []byte       `codec:"deviceID"`
	Session          string       `codec:"session"`
	InboxVers        InboxVers    `codec:"inboxVers"`
	CTime            gregor1.Time `codec:"ctime"`
	Fresh            bool         `codec:"fresh"`
	ProtVers         int          `codec:"protVers"`
	HostName         string       `codec:"hostName"`
	SummarizeMaxMsgs bool         `codec:"summarizeMaxMsgs"`
	ParticipantsMode int          `codec:"participantsMode"`
}

// SyncAllResult answers it.
type SyncAllResult struct {
	Auth         gregor1.AuthResult     `codec:"auth"`
	Chat         SyncChatRes            `codec:"chat"`
	Notification SyncAllNotificationRes `codec:"notification"`
	Badge        UnreadUpdateFull       `codec:"badge"`
}

// InboxViewFull is a page of the inbox at one version.
type InboxViewFull struct {
	Vers          InboxVers      `codec:"vers"`
	Conversations []Conversation `codec:"conversations"`
}

// InboxView is a variant over InboxResType.
type InboxView struct {
	RType InboxResType   `codec:"rtype"`
	Full  *InboxViewFull `codec:"full,omitempty"`
}

// GlobalAppNotificationSetting names one of a user's own settings.
type GlobalAppNotificationSetting int

// Values of GlobalAppNotificationSetting. PLAINTEXTDESKTOP (2) lives in clients.
const (
	SettingNewMessages        GlobalAppNotificationSetting = 0
	SettingPlaintextMobile    GlobalAppNotificationSetting = 1
	SettingDefaultSoundMobile GlobalAppNotificationSetting = 3
	SettingDisableTyping      GlobalAppNotificationSetting = 4
)

// GlobalAppNotificationSettings must carry a map: clients write into it.
type GlobalAppNotificationSettings struct {
	Settings map[GlobalAppNotificationSetting]bool `codec:"settings"`
}

// Arguments of the methods that are answered.
type (
	SyncChatArg struct {
		Vers             InboxVers `codec:"vers"`
		SummarizeMaxMsgs bool      `codec:"summarizeMaxMsgs"`
		ParticipantsMode int       `codec:"participantsMode"`
	}
	SyncInboxArg struct {
		Vers InboxVers `codec:"vers"`
	}
	GetUnreadUpdateFullArg struct {
		InboxVers InboxVers `codec:"inboxVers"`
	}
	GetInboxVersionArg struct {
		UID []byte `codec:"uid"`
	}
	// GetInboxRemoteArg leaves the query unread: the answer is empty for any.
	GetInboxRemoteArg struct {
		Vers InboxVers `codec:"vers"`
	}
	// NoArg is for methods whose argument does not matter to the answer.
	NoArg struct{}
)

// Results of the methods that are answered.
type (
	GetInboxRemoteRes struct {
		Inbox InboxView `codec:"inbox"`
	}
	// ConversationsRes answers getPublicConversations and getTLFConversations.
	ConversationsRes struct {
		Conversations []Conversation `codec:"conversations"`
	}
	GetResetConversationsRes struct {
		ResetConvs []struct{} `codec:"resetConvs"`
	}
	GetDefaultTeamChannelsRes struct {
		Convs [][]byte `codec:"convs"`
	}
	GetLastActiveAtRes struct {
		LastActiveAt gregor1.Time `codec:"lastActiveAt"`
	}
	ServerNowRes struct {
		Now gregor1.Time `codec:"now"`
	}
)
