package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// RelaySession names a kex2 session: 32 bytes that both devices derive.
type RelaySession [32]byte

// RelaySend stores one message of a device in a session; seqnos count from 1 per
// sender. client: go/libkb/kex2_router.go:Post
func (s *Server) RelaySend(ctx context.Context, i RelaySession, sender DeviceID, seqno int, msg []byte) error {
	_, err := s.Post(ctx, "kex2/send", url.Values{
		"I": {hex.EncodeToString(i[:])}, "sender": {sender.String()}, "seqno": {strconv.Itoa(seqno)}, "msg": {b64(msg)},
	}, nil)
	return err
}

// RelayReceive returns the messages that others sent into a session from seqno
// low on, waiting up to poll for the first. client: go/libkb/kex2_router.go:Get
func (s *Server) RelayReceive(ctx context.Context, i RelaySession, receiver DeviceID, low int, poll time.Duration) ([][]byte, error) {
	reply, err := s.Get(ctx, "kex2/receive", url.Values{
		"I": {hex.EncodeToString(i[:])}, "receiver": {receiver.String()}, "low": {strconv.Itoa(low)},
		"poll": {strconv.FormatInt(poll.Milliseconds(), 10)},
	}, nil)
	if err != nil {
		return nil, err
	}
	var msgs []struct {
		Msg string `json:"msg"`
	}
	if err := reply.into("msgs", &msgs); err != nil {
		return nil, err
	}
	out := make([][]byte, len(msgs))
	for n, m := range msgs {
		if out[n], err = unbase64(m.Msg); err != nil {
			return nil, violated(RuleReply, "kex2/receive", "message %d: %v", n, err)
		}
	}
	return out, nil
}

// DeviceStatus is one row of device/for_users.
type DeviceStatus struct {
	UID      string `json:"uid"`
	DeviceID string `json:"device_id"`
	OK       bool   `json:"ok"`
	Username string `json:"username"`
}

// DevicesForUsers asks which devices are still active.
// client: go/libkb/all_provisioned_usernames.go
func (s *Server) DevicesForUsers(ctx context.Context, rows []DeviceStatus) ([]DeviceStatus, error) {
	reply, err := s.PostJSON(ctx, "device/for_users", map[string]any{"user_configs": rows}, nil)
	if err != nil {
		return nil, err
	}
	var out []DeviceStatus
	return out, reply.into("user_configs", &out)
}

// CloneToken runs one step of clone detection and returns the token that the
// server holds and the number of clones. client: go/libkb/device_clone_state.go
func (a *Account) CloneToken(ctx context.Context, d *Device, prior, stage [16]byte) (token string, clones int, err error) {
	reply, err := a.postForm(ctx, "device/clone_detection_token", url.Values{
		"device_id": {d.ID.String()}, "prior": {hex.EncodeToString(prior[:])}, "stage": {hex.EncodeToString(stage[:])},
	}, a.NIST(d))
	if err != nil {
		return "", 0, err
	}
	if token, err = reply.text("token"); err != nil {
		return "", 0, err
	}
	return token, clones, reply.into("clones", &clones)
}

// Names maps ids to names as user/names does, checking each against its id.
// client: go/uidmap/uidmap.go
func (s *Server) Names(ctx context.Context, uids ...UID) (map[UID]string, error) {
	var list string
	for i, u := range uids {
		if i > 0 {
			list += ","
		}
		list += u.String()
	}
	reply, err := s.Post(ctx, "user/names", url.Values{"uids": {list}, "no_cache": {"0"}}, nil)
	if err != nil {
		return nil, err
	}
	var users map[string]json.RawMessage
	if err := reply.into("users", &users); err != nil {
		return nil, err
	}
	out := make(map[UID]string)
	for id, raw := range users {
		var row struct {
			Username string `json:"username"`
		}
		uid, err := ParseUID(id)
		if err != nil || json.Unmarshal(raw, &row) != nil || UIDOf(row.Username) != uid {
			return nil, violated(RuleUsername, "user/names", "%s is called %q", id, row.Username)
		}
		out[uid] = row.Username
	}
	return out, nil
}

// FirstRootWithSkips asks for the number of the server's first root.
// client: go/libkb/merkle_client.go:getFirstSkipFromServer
func (s *Server) FirstRootWithSkips(ctx context.Context) (Seqno, error) {
	reply, err := s.Get(ctx, "merkle/first_root_with_skips", nil, nil)
	if err != nil {
		return 0, err
	}
	var seqno Seqno
	return seqno, reply.into("seqno", &seqno)
}
