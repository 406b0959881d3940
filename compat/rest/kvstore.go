package rest

import (
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/kvstore"
	"github.com/keystead/keystead/merklehot/teams"
)

// entryID is the entry that a request names. Values are text and may be anything but
// empty, so they are taken as sent.
func (c *call) entryID() (id kvstore.ID, err error) {
	if id.Team, err = parsed(c, "team_id", kbsig.ParseTeamID); err != nil {
		return id, err
	}
	if id.Namespace, err = c.str("namespace"); err != nil {
		return id, err
	}
	id.Name, err = c.str("entry_key")
	return id, err
}

// storeError says what went wrong in a key-value store as clients understand it.
// client: go/service/kvstore_test.go
func storeError(err error) error {
	var revision *kvstore.RevisionError
	switch {
	case errors.As(err, &revision):
		return status.New(status.TeamStorageWrongRevision, "TEAM_STORAGE_WRONG_REVISION", revision.Error())
	case errors.Is(err, kvstore.ErrNone):
		return status.New(status.TeamStorageNotFound, "TEAM_STORAGE_NOT_FOUND", err.Error())
	case errors.Is(err, kvstore.ErrName), errors.Is(err, kvstore.ErrTooLarge), errors.Is(err, kvstore.ErrTooMany):
		return status.Input("%v", err)
	}
	return err
}

// storeEntryJSON is an entry of a key-value store. client: go/service/kvstore.go:getEntryAPIRes
type storeEntryJSON struct {
	TeamID      string      `json:"team_id"`
	Namespace   string      `json:"namespace"`
	EntryKey    string      `json:"entry_key"`
	TeamKeyGen  int64       `json:"team_key_gen"`
	Revision    int64       `json:"revision"`
	Ciphertext  *string     `json:"ciphertext"`
	Format      int         `json:"format_version"`
	UID         string      `json:"uid,omitempty"`
	EldestSeqno kbsig.Seqno `json:"eldest_seqno"`
	DeviceID    string      `json:"device_id,omitempty"`
}

// storeGet: GET team/storage. client: go/service/kvstore.go:KVStoreHandler.serverFetch
func storeGet(c *call) (any, error) {
	id, err := c.entryID()
	if err != nil {
		return nil, err
	}
	if err := mayStore(c.view(), id.Team, c.who.UID); err != nil {
		return nil, err
	}
	e, err := kvstore.Get(c.view(), id)
	if err != nil {
		return nil, storeError(err)
	}
	out := storeEntryJSON{TeamID: id.Team.String(), Namespace: id.Namespace, EntryKey: id.Name, Revision: e.Revision, TeamKeyGen: e.Generation}
	if e.Revision > 0 {
		out.Format, out.UID, out.EldestSeqno, out.DeviceID = e.Format, e.Writer.UID.String(), e.Writer.Eldest, e.Device.String()
	}
	if e.Ciphertext != "" {
		out.Ciphertext = &e.Ciphertext
	}
	return out, nil
}

// mayStore: members who have the keys of applications, bots among them.
func mayStore(r store.Reader, t kbsig.TeamID, u kbsig.UID) error {
	a, err := teams.AccessOf(r, t, u, kbsig.TeamID{})
	if err != nil {
		return teamError(err)
	}
	if !a.Masks() {
		return errTeamClosed
	}
	return nil
}

// newestKey is the newest generation of a team's key.
func newestKey(r store.Reader, t kbsig.TeamID) (int64, error) {
	st, err := teams.Load(r, t)
	if err != nil {
		return 0, err
	}
	h, err := hidden.Load(r, t)
	if err != nil {
		return 0, err
	}
	return max(st.PTK().Generation, h.PTK().Generation), nil
}

// writer is who writes, for what the entry says of it. Only devices can sign entries.
func (c *call) writer(tx *store.Tx, t kbsig.TeamID) (kbsig.UserVersion, error) {
	if c.who.DeviceID == (kbsig.DeviceID{}) {
		return kbsig.UserVersion{}, status.New(status.BadSession, "BAD_SESSION", "entries are written by devices")
	}
	s, err := teams.StandingOf(tx, t, c.who.UID)
	return s.UV, err
}

type revisionJSON struct {
	Revision int64 `json:"revision"`
}

// storePut: POST team/storage. client: go/service/kvstore.go:KVStoreHandler.putKVEntryLocked
func storePut(c *call) (any, error) {
	id, err := c.entryID()
	if err != nil {
		return nil, err
	}
	e := kvstore.Entry{Device: c.who.DeviceID}
	if e.Ciphertext, err = c.str("ciphertext"); err != nil {
		return nil, err
	}
	if e.Generation, err = c.signed("team_key_gen", 0); err != nil {
		return nil, err
	}
	if e.Revision, err = c.signed("revision", 0); err != nil {
		return nil, err
	}
	format, err := c.integer("ciphertext_version", 0)
	if err != nil {
		return nil, err
	}
	if format < 1 || format > 255 {
		return nil, status.InputField("ciphertext_version", "there is no such version")
	}
	e.Format = int(format)
	return revisionJSON{e.Revision}, c.update(func(tx *store.Tx) error {
		if err := mayStore(tx, id.Team, c.who.UID); err != nil {
			return err
		}
		newest, err := newestKey(tx, id.Team)
		if err != nil {
			return err
		}
		if e.Generation != newest {
			return status.New(status.TeamStorageBadGeneration, "TEAM_STORAGE_BAD_GENERATION", "the team has a newer key; please try again")
		}
		if e.Writer, err = c.writer(tx, id.Team); err != nil {
			return err
		}
		return storeError(kvstore.Put(tx, id, e))
	})
}

// storeDelete: DELETE team/storage. client: go/service/kvstore.go:KVStoreHandler.delKVEntryLocked
func storeDelete(c *call) (any, error) {
	id, err := c.entryID()
	if err != nil {
		return nil, err
	}
	revision, err := c.signed("revision", 0)
	if err != nil {
		return nil, err
	}
	return revisionJSON{revision}, c.update(func(tx *store.Tx) error {
		if err := mayStore(tx, id.Team, c.who.UID); err != nil {
			return err
		}
		e := kvstore.Entry{Revision: revision, Device: c.who.DeviceID}
		if e.Generation, err = newestKey(tx, id.Team); err != nil {
			return err
		}
		if e.Writer, err = c.writer(tx, id.Team); err != nil {
			return err
		}
		return storeError(kvstore.Delete(tx, id, e))
	})
}

// storeList: GET team/storage/list: the namespaces of a team, or the entries of one.
// client: go/service/kvstore.go:KVStoreHandler.listKVNamespaceLocked, KVStoreHandler.listKVEntriesLocked
func storeList(c *call) (any, error) {
	t, err := parsed(c, "team_id", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	if err := mayStore(c.view(), t, c.who.UID); err != nil {
		return nil, err
	}
	if !c.has("namespace") {
		list, err := kvstore.Namespaces(c.view(), t)
		if err != nil {
			return nil, storeError(err)
		}
		return struct {
			TeamID     string   `json:"team_id"`
			Namespaces []string `json:"namespaces"`
		}{t.String(), append([]string{}, list...)}, nil
	}
	list, err := kvstore.Names(c.view(), t, c.raw("namespace"))
	if err != nil {
		return nil, storeError(err)
	}
	type row struct {
		Name     string `json:"k"`
		Revision int64  `json:"r"`
	}
	rows := []row{}
	for _, n := range list {
		rows = append(rows, row(n))
	}
	return struct {
		TeamID    string `json:"team_id"`
		Namespace string `json:"namespace"`
		EntryKeys []row  `json:"entry_keys"`
	}{t.String(), c.raw("namespace"), rows}, nil
}
