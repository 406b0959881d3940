package adminapi

import (
	"context"
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// Names of the methods of sessions.
const (
	SessionsList = "sessions.list"
	SessionsEnd  = "sessions.end"
)

// Sessions are the methods about who is logged in with a password, and with what devices.
type Sessions struct {
	Store *store.Store
	Clock func() time.Time
}

// Methods is the table of them.
func (s Sessions) Methods() Methods {
	return Methods{SessionsList: typed(s.list), SessionsEnd: typed(s.end)}
}

// SessionsOf is the argument of sessions.list.
type SessionsOf struct {
	User string `json:"user"`
}

// SessionList is the result of sessions.list.
type SessionList struct {
	User     string          `json:"user"`
	Lockdown bool            `json:"lockdown"`
	Sessions []ListedSession `json:"sessions"` // the newest first
	Devices  []ListedDevice  `json:"devices"`
}

// ListedSession is a session of the password, or of a device for another.
type ListedSession struct {
	ID      string `json:"id"`
	Device  string `json:"device,omitempty"` // that asked for it
	Made    int64  `json:"made"`             // unix seconds
	Expires int64  `json:"expires"`
}

// ListedDevice is an active device, which signs its tokens itself.
type ListedDevice struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	LastUsed int64  `json:"last_used"` // unix seconds
}

func find(r store.Reader, user string) (*accounts.Account, error) {
	name, err := kbsig.ParseUsername(user)
	if err != nil {
		return nil, fmt.Errorf("%.40q is not a username", user)
	}
	acct, err := accounts.ByName(r, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return acct, nil
}

func (s Sessions) list(_ context.Context, args SessionsOf) (out SessionList, err error) {
	v := s.Store.View()
	defer v.Close()
	acct, err := find(v, args.User)
	if err != nil {
		return out, err
	}
	out = SessionList{User: string(acct.Name), Sessions: []ListedSession{}, Devices: []ListedDevice{}}
	lock, err := accounts.GetLockdown(v, acct.UID)
	if err != nil {
		return out, err
	}
	out.Lockdown = lock.Enabled
	all, err := accounts.Sessions(v, acct.UID, s.Clock())
	if err != nil {
		return out, err
	}
	for _, x := range all {
		row := ListedSession{ID: x.ID.String(), Made: x.Made, Expires: x.Expires}
		if x.Vouched() {
			row.Device = x.Device.String()
		}
		out.Sessions = append(out.Sessions, row)
	}
	devices, err := accounts.SortedDevices(v, acct.UID)
	if err != nil {
		return out, err
	}
	for _, d := range devices {
		if _, err := accounts.ActiveKID(v, acct.UID, d.ID); err == nil {
			out.Devices = append(out.Devices, ListedDevice{d.ID.String(), d.Type, d.LastUsed})
		}
	}
	return out, nil
}

// EndSessions is the argument of sessions.end: one session by the id that the list
// shows, or all.
type EndSessions struct {
	User string `json:"user"`
	ID   string `json:"id,omitempty"`
	All  bool   `json:"all,omitempty"`
}

// EndedSessions is the result of sessions.end.
type EndedSessions struct {
	User  string `json:"user"`
	Ended int    `json:"ended"`
}

func (s Sessions) end(ctx context.Context, args EndSessions) (out EndedSessions, err error) {
	if args.All == (args.ID != "") {
		return out, fmt.Errorf("name one session, or all")
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		acct, err := find(tx, args.User)
		if err != nil {
			return err
		}
		out.User = string(acct.Name)
		if args.All {
			out.Ended, err = accounts.EndSessions(tx, acct.UID, nil)
			return err
		}
		id, err := accounts.FindSessionID(tx, acct.UID, args.ID, tx.Now())
		if err != nil {
			return err
		}
		out.Ended = 1
		return accounts.EndSession(tx, acct.UID, id)
	})
	return out, err
}
