// Package gregor1 spells the messages of the protocols gregor.1.* as stock clients
// read and write them: msgpack maps with these field names and numbers.
//
// Shapes only, no logic. Identifiers are raw bytes here (16 for users and devices),
// times are int64 milliseconds since the epoch with 0 for "unset", and an absent
// byte string is nil, which clients tell apart from an empty one.
//
// client: go/protocol/gregor1/common.go, incoming.go, outgoing.go, auth.go, auth_internal.go,
// auth_update.go, remind.go
package gregor1

// Names of the protocols; a method is "<protocol>.<method>".
const (
	ProtocolAuth         = "gregor.1.auth"
	ProtocolAuthInternal = "gregor.1.authInternal"
	ProtocolAuthUpdate   = "gregor.1.authUpdate"
	ProtocolIncoming     = "gregor.1.incoming"
	ProtocolOutgoing     = "gregor.1.outgoing"
	ProtocolRemind       = "gregor.1.remind"
)

// Kinds of in-band messages. client: go/gregor/interface.go:InBandMsgType
const (
	InBandUpdate = 1
	InBandSync   = 2
)

// Time is milliseconds since the epoch; 0 is unset.
type Time int64

// DurationMsec is a span in milliseconds.
type DurationMsec int64

// TimeOrOffset is a moment, or a span after the time the message was stamped with;
// both zero is unset.
type TimeOrOffset struct {
	Time   Time         `codec:"time"`
	Offset DurationMsec `codec:"offset"`
}

// Metadata names a message. UID and MsgID must not be empty. A nil DeviceID means
// every device of the user.
type Metadata struct {
	UID           []byte `codec:"uid"`
	MsgID         []byte `codec:"msgID"`
	CTime         Time   `codec:"ctime"`
	DeviceID      []byte `codec:"deviceID"`
	InBandMsgType int    `codec:"inBandMsgType"`
}

// Item is what a message puts into the user's state. Category must not be empty and
// Body must not be nil: clients dereference both.
type Item struct {
	Category    string         `codec:"category"`
	DTime       TimeOrOffset   `codec:"dtime"`
	RemindTimes []TimeOrOffset `codec:"remindTimes"`
	Body        []byte         `codec:"body"`
}

// ItemAndMetadata is one item of a State; both parts are present.
type ItemAndMetadata struct {
	Metadata *Metadata `codec:"md,omitempty"`
	Item     *Item     `codec:"item,omitempty"`
}

// State is the items that are alive, sorted by ctime and then message id.
type State struct {
	Items []ItemAndMetadata `codec:"items"`
}

// MsgRange names the items of one category, exactly equal, not younger than EndTime.
type MsgRange struct {
	EndTime    TimeOrOffset `codec:"endTime"`
	Category   string       `codec:"category"`
	SkipMsgIDs [][]byte     `codec:"skipMsgIDs"`
}

// Dismissal takes items out of the state.
type Dismissal struct {
	MsgIDs [][]byte   `codec:"msgIDs"`
	Ranges []MsgRange `codec:"ranges"`
}

// StateUpdateMessage creates an item, dismisses others, or does both in this order.
type StateUpdateMessage struct {
	Metadata  Metadata   `codec:"md"`
	Creation  *Item      `codec:"creation,omitempty"`
	Dismissal *Dismissal `codec:"dismissal,omitempty"`
}

// StateSyncMessage asks for a state; clients do not send it.
type StateSyncMessage struct {
	Metadata Metadata `codec:"md"`
}

// InBandMessage has exactly one of its parts.
type InBandMessage struct {
	StateUpdate *StateUpdateMessage `codec:"stateUpdate,omitempty"`
	StateSync   *StateSyncMessage   `codec:"stateSync,omitempty"`
}

// OutOfBandMessage is pushed once and not kept. UID is the receiver's.
type OutOfBandMessage struct {
	UID    []byte `codec:"uid"`
	System string `codec:"system"`
	Body   []byte `codec:"body"`
}

// Message has exactly one of its parts.
type Message struct {
	OutOfBand *OutOfBandMessage `codec:"oobm,omitempty"`
	InBand    *InBandMessage    `codec:"ibm,omitempty"`
}

// SyncResult is what happened since a ctime, and SHA-256 of the state after it.
type SyncResult struct {
	Msgs []InBandMessage `codec:"msgs"`
	Hash []byte          `codec:"hash"`
}

// Reminder is a reminder of an item that is due. Seqno tells the reminders of one item
// apart.
type Reminder struct {
	Item       ItemAndMetadata `codec:"item"`
	Seqno      int             `codec:"seqno"`
	RemindTime Time            `codec:"remindTime"`
}

// ReminderSet is some of the reminders that are due.
type ReminderSet struct {
	Reminders          []Reminder `codec:"reminders"`
	MoreRemindersReady bool       `codec:"moreRemindersReady"`
}

// ReminderID names a reminder.
type ReminderID struct {
	UID   []byte `codec:"uid"`
	MsgID []byte `codec:"msgID"`
	Seqno int    `codec:"seqno"`
}

// ConnectedDevice is one connection's device.
type ConnectedDevice struct {
	DeviceID       []byte `codec:"deviceID"`
	DeviceType     string `codec:"deviceType"`
	DevicePlatform string `codec:"devicePlatform"`
	UserAgent      string `codec:"userAgent"`
}

// ConnectedUser is a user and the devices that are connected now.
type ConnectedUser struct {
	UID     []byte            `codec:"uid"`
	Devices []ConnectedDevice `codec:"devices"`
}

// AuthResult says who a session is. Clients close the connection when UID is not theirs.
type AuthResult struct {
	UID      []byte `codec:"uid"`
	Username string `codec:"username"`
	SID      string `codec:"sid"`
	IsAdmin  bool   `codec:"isAdmin"`
}

// Arguments of gregor.1.auth and gregor.1.incoming.
type (
	AuthenticateSessionTokenArg struct {
		Session string `codec:"session"`
	}
	SyncArg struct {
		UID      []byte `codec:"uid"`
		DeviceID []byte `codec:"deviceid"`
		CTime    Time   `codec:"ctime"`
	}
	StateArg struct {
		UID          []byte       `codec:"uid"`
		DeviceID     []byte       `codec:"deviceid"`
		TimeOrOffset TimeOrOffset `codec:"timeOrOffset"`
	}
	StateByCategoryPrefixArg struct {
		UID            []byte       `codec:"uid"`
		DeviceID       []byte       `codec:"deviceid"`
		TimeOrOffset   TimeOrOffset `codec:"timeOrOffset"`
		CategoryPrefix string       `codec:"categoryPrefix"`
	}
	ConsumeMessageArg struct {
		Message Message `codec:"m"`
	}
	VersionArg struct {
		UID []byte `codec:"uid"`
	}
	DescribeConnectedUsersArg struct {
		UIDs [][]byte `codec:"uids"`
	}
	ConsumeMessageMultiArg struct {
		Message Message  `codec:"msg"`
		UIDs    [][]byte `codec:"uids"`
	}
	PingArg struct{}
)

// Arguments of gregor.1.remind.
type (
	GetRemindersArg struct {
		MaxReminders int `codec:"maxReminders"`
	}
	DeleteRemindersArg struct {
		ReminderIDs []ReminderID `codec:"reminderIDs"`
	}
)

// BroadcastMessageArg is the argument of gregor.1.outgoing.broadcastMessage, which
// the server calls.
type BroadcastMessageArg struct {
	Message Message `codec:"m"`
}
