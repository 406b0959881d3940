package sigchain

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
)

// posts is a session of requests as code of the stock client made them.
type posts struct {
	UID      string
	Username string
	Eldest   string
	Keys     []string
	Root     struct {
		Seqno    int64
		Hash     string
		HashMeta string `json:"hash_meta"`
		Ctime    int64
	}
	Batches []struct {
		Endpoint string
		Now      int64
		Body     json.RawMessage
	}
}

type postedJSON struct {
	Sig           string            `json:"sig"`
	SigInner      string            `json:"sig_inner"`
	SigningKID    string            `json:"signing_kid"`
	Type          string            `json:"type"`
	SigIDBase     string            `json:"sig_id_base"`
	SigIDShort    string            `json:"sig_id_short"`
	PublicKey     string            `json:"public_key"`
	PublicKeys    map[string]string `json:"public_keys"`
	EldestKID     string            `json:"eldest_kid"`
	IsPrimary     string            `json:"is_primary"`
	NewEldest     string            `json:"new_eldest"`
	IsRemoteProof string            `json:"is_remote_proof"`
	UID           string            `json:"uid"`
}

func (p postedJSON) posted() Posted {
	return Posted{Sig: p.Sig, SigInner: p.SigInner, SigningKID: p.SigningKID, Type: p.Type, SigIDBase: p.SigIDBase,
		SigIDShort: p.SigIDShort, PublicKey: p.PublicKey, PublicSigning: p.PublicKeys["signing"],
		PublicEncrypt: p.PublicKeys["encryption"], EldestKID: p.EldestKID, IsPrimary: p.IsPrimary,
		NewEldest: p.NewEldest, IsRemoteProof: p.IsRemoteProof, UID: p.UID}
}

func readBatch(t *testing.T, body []byte) ([]Posted, *PUKExtra) {
	var b struct {
		postedJSON
		Sigs []postedJSON
		PUK  *struct {
			Generation int64
			Prev       string
			Boxes      []struct {
				Generation  int64
				Box         string
				ReceiverKID string `json:"receiver_kid"`
			}
		} `json:"per_user_key"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	if b.Sigs == nil {
		b.Sigs = []postedJSON{b.postedJSON}
	}
	var out []Posted
	for _, s := range b.Sigs {
		out = append(out, s.posted())
	}
	if b.PUK == nil {
		return out, nil
	}
	x := &PUKExtra{Generation: b.PUK.Generation, Prev: b.PUK.Prev}
	for _, box := range b.PUK.Boxes {
		kid := must[kbsig.KID](t)(kbsig.ParseKID(box.ReceiverKID))
		x.Boxes = append(x.Boxes, Box{Generation: box.Generation, ReceiverKID: kid, Box: box.Box})
	}
	return out, x
}

// stockEnv knows the one root that the session quotes, as the newest.
type stockEnv struct {
	*world
	root RootRef
}

func (e stockEnv) LatestRoot() kbsig.Seqno { return e.root.Seqno }
func (e stockEnv) Root(s kbsig.Seqno) (RootRef, bool, error) {
	return e.root, s == e.root.Seqno, nil
}

// Everything that code of the stock client posts in a whole session, with and
// without high skips, is accepted, and leads to the keys that client has.
func TestStockClientPosts(t *testing.T) {
	files := must[[]string](t)(filepath.Glob("testdata/posts/*.json"))
	if len(files) < 2 {
		t.Fatal("sessions are missing")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) { playPosts(t, must[[]byte](t)(os.ReadFile(f))) })
	}
}

func playPosts(t *testing.T, data []byte) {
	var s posts
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	env := stockEnv{world: newWorld(t, s.Username)}
	env.root = RootRef{Seqno: kbsig.Seqno(s.Root.Seqno), Ctime: s.Root.Ctime,
		HashMeta: must[kbsig.HashMeta](t)(kbsig.ParseHashMeta(s.Root.HashMeta)),
		NodeHash: must[kbsig.NodeHash](t)(kbsig.ParseNodeHash(s.Root.Hash))}
	for i, b := range s.Batches {
		env.now = time.Unix(b.Now, 0)
		posted, puk := readBatch(t, b.Body)
		var links []*Link
		for _, p := range posted {
			l, err := Parse(p)
			if err != nil {
				t.Fatalf("request %d (%s): %v", i, b.Endpoint, err)
			}
			links = append(links, l)
		}
		x := Extras{PUK: puk}
		if last := links[len(links)-1]; last.Revoke != nil {
			x.Lease = &Lease{Root: env.root.Seqno, KIDs: last.Revoke.KIDs, SigIDs: last.Revoke.SigIDs}
		}
		next, err := CheckBatch(env.st, links, x, env)
		if err != nil {
			t.Fatalf("request %d (%s): %v", i, b.Endpoint, err)
		}
		env.accept(next, links)
		if again, err := AlreadyPosted(env.st, links, env.record); err != nil || !again {
			t.Fatalf("request %d is not recognised as a repeat: %v", i, err)
		}
	}
	var got []string
	for _, k := range env.st.AllKIDs() {
		got = append(got, k.String())
	}
	if !slices.Equal(got, s.Keys) || env.st.Eldest.String() != s.Eldest {
		t.Fatalf("keys %v, not %v", got, s.Keys)
	}
	if n := len(env.st.ActiveDevices()); n != 2 || env.st.PUKGeneration() != 3 || len(env.st.Tracks) != 0 {
		t.Fatalf("%d devices, generation %d, %d followed", n, env.st.PUKGeneration(), len(env.st.Tracks))
	}
	checkCodecs(t, env.st, env.records)
}

// checkCodecs proves that what is stored reads back as it was written.
func checkCodecs(t *testing.T, s *State, records []Record) {
	t.Helper()
	b := s.Encode()
	again := must[*State](t)(DecodeState(b))
	if !bytes.Equal(again.Encode(), b) {
		t.Fatal("state does not round trip")
	}
	for _, r := range records {
		back := must[Record](t)(DecodeRecord(r.Encode()))
		if !bytes.Equal(back.Packet, r.Packet) || !bytes.Equal(back.Inner, r.Inner) {
			t.Fatal("record does not round trip")
		}
	}
}
