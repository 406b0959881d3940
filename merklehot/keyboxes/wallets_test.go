package keyboxes

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/keybase/go-codec/codec"

	"github.com/keystead/keystead/engine/store"
)

// pack is base64 of msgpack, as clients send it.
func pack(t testing.TB, v any) string {
	t.Helper()
	var b []byte
	if err := codec.NewEncoderBytes(&b, walletHandle).Encode(v); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func hashOf(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(b)
	return h[:]
}

func walletBox(t testing.TB, text string, generation int64) string {
	return pack(t, boxedWallet{2, []byte(text), make([]byte, 24), generation})
}

// walletDraft is a wallet to post, before it is encoded.
type walletDraft struct {
	revision int64
	prev     []byte
	account  string
	accRev   int64
	primary  bool
	mode     int
	gen      int64
	text     string
	leaveOut bool // the account's bundle
}

func (d walletDraft) post(t testing.TB) WalletPost {
	bundle := walletBox(t, "secret "+d.text, d.gen)
	p := WalletPost{Encrypted: walletBox(t, d.text, d.gen), Version: 2, Bundles: map[string]string{d.account: bundle}}
	p.Visible = pack(t, map[string]any{"revision": d.revision, "prev": d.prev, "accounts": []any{map[string]any{
		"accountID": d.account, "mode": d.mode, "isPrimary": d.primary, "acctBundleRevision": d.accRev, "encAcctBundleHash": hashOf(t, bundle),
	}}})
	if d.leaveOut {
		p.Bundles = nil
	}
	return p
}

// TestWalletsFollowEachOther proves that a wallet is taken exactly if it follows from the
// one before, under the newest key and the primary account of the chain, and that one
// that is refused changes nothing.
func TestWalletsFollowEachOther(t *testing.T) {
	s := openStore(t)
	defer func() { _ = s.Close() }()
	put := func(d walletDraft, mobile func(*store.Tx) error) error {
		p := d.post(t)
		p.Mobile = mobile
		return s.Update(context.Background(), func(tx *store.Tx) error {
			return PutWallet(tx, alice, 3, "G"+strings.Repeat("A", 55), p)
		})
	}
	load := func() *Wallet {
		v := s.View()
		defer v.Close()
		w, err := LoadWallet(v, alice)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	good := walletDraft{revision: 1, account: "G" + strings.Repeat("A", 55), accRev: 1, primary: true, mode: WalletUser, gen: 3, text: "one"}
	if err := put(good, nil); !errors.Is(err, ErrWalletDisclaimer) {
		t.Fatalf("before the disclaimer: %v", err)
	}
	if err := s.Update(context.Background(), func(tx *store.Tx) error { return AcceptDisclaimer(tx, alice) }); err != nil {
		t.Fatal(err)
	}
	for range 3 { // three revisions, each after what must not follow
		before := *load()
		for name, tc := range map[string]struct {
			change func(*walletDraft)
			want   error
		}{
			"revision again":  {func(d *walletDraft) { d.revision-- }, ErrWalletRevision},
			"revision skips":  {func(d *walletDraft) { d.revision++ }, ErrWalletRevision},
			"other prev":      {func(d *walletDraft) { d.prev = []byte("other") }, ErrWalletPrev},
			"old key":         {func(d *walletDraft) { d.gen = 2 }, ErrWalletKey},
			"no primary":      {func(d *walletDraft) { d.primary = false }, ErrWalletPrimary},
			"other primary":   {func(d *walletDraft) { d.account = "G" + strings.Repeat("B", 55); d.accRev = 1 }, ErrWalletPrimary},
			"not an account":  {func(d *walletDraft) { d.account = "S" + strings.Repeat("A", 55) }, ErrWalletInput},
			"mode":            {func(d *walletDraft) { d.mode = 7 }, ErrWalletInput},
			"account skips":   {func(d *walletDraft) { d.accRev += 2 }, ErrWalletRevision},
			"account without": {func(d *walletDraft) { d.leaveOut = true; d.account = "G" + strings.Repeat("C", 55) }, ErrNoWalletAccount},
		} {
			d := good
			tc.change(&d)
			if err := put(d, nil); !errors.Is(err, tc.want) {
				t.Errorf("revision %d, %s: %v, not %v", good.revision, name, err, tc.want)
			}
			if w := load(); w.Revision != before.Revision || w.Encrypted != before.Encrypted {
				t.Fatalf("%s: what was refused was kept", name)
			}
		}
		if err := put(good, nil); err != nil {
			t.Fatalf("revision %d: %v", good.revision, err)
		}
		w := load()
		if a, err := w.Account(good.account); err != nil || a.Bundle == "" || w.Revision != good.revision {
			t.Fatalf("revision %d: %+v %v", good.revision, w, err)
		}
		good.revision, good.accRev, good.prev, good.text = good.revision+1, good.accRev+1, w.Hash, good.text+"+"
	}
	refused := errors.New("not this device")
	good.mode = WalletMobile
	if err := put(good, func(*store.Tx) error { return refused }); !errors.Is(err, refused) {
		t.Fatalf("a device that may not make an account mobile-only: %v", err)
	}
	if err := put(good, func(*store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
}
