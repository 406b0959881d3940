package sigchain

import (
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
)

// Limits of one request.
const (
	// batchLinksMax bounds links posted together; stock clients post 3 at most.
	batchLinksMax = 8
	// pukBoxesMax bounds boxes posted together: one per active device.
	pukBoxesMax = 1_000
	// rootAgeMax is how long a root may have been superseded when a link that
	// quotes it arrives; clients refresh theirs within minutes.
	rootAgeMax = 24 * time.Hour
	// ctimeBehindMax is how far a link's time may be behind ours on arrival.
	ctimeBehindMax = 24 * time.Hour
)

// Box is a per-user key sealed for one device.
// client: go/protocol/keybase1/kex2provisionee2.go:PerUserKeyBox
type Box struct {
	Generation  int64
	ReceiverKID kbsig.KID
	Box         string // base64 packet
}

// PUKExtra is the per_user_key section beside the links.
// client: go/libkb/delegatekeyaggregator.go:AddPerUserKeyServerArg
type PUKExtra struct {
	Generation int64
	Boxes      []Box
	Prev       string // base64; empty when not sent
}

// Lease is what the server promised before a revocation.
// client: go/libkb/downgrade_leases.go
type Lease struct {
	Root   kbsig.Seqno // the root quoted must not be older
	KIDs   []kbsig.KID // what may be revoked under it
	SigIDs []kbsig.SigIDBase
}

// Extras is what a request carries beside its links. A nil PUK or Lease was not
// sent.
type Extras struct {
	PUK   *PUKExtra
	Lease *Lease
}

// batchKinds are the sequences of links that stock clients post together.
// client: go/engine/device_keygen.go:Push, paperkey_gen.go, revoke.go, puk_roll.go
var batchKinds = [][]kbsig.LinkType{
	{kbsig.LinkEldest, kbsig.LinkSubkey, kbsig.LinkPerUserKey},
	{kbsig.LinkEldest, kbsig.LinkSubkey},
	{kbsig.LinkSibkey, kbsig.LinkSubkey},
	{kbsig.LinkPerUserKey, kbsig.LinkRevoke},
	{kbsig.LinkPerUserKey},
	{kbsig.LinkRevoke},
	{kbsig.LinkTrack},
	{kbsig.LinkUntrack},
	{kbsig.LinkDevice},
	{kbsig.LinkWebServiceBinding},
	{kbsig.LinkWebServiceBindingRevoke},
	{kbsig.LinkCryptocurrency},
	{kbsig.LinkCryptocurrencyRevoke},
	{kbsig.LinkWalletStellar},
	{kbsig.LinkWotVouch},
	{kbsig.LinkWotVouchRevoke},
	{kbsig.LinkWotReact},
	{kbsig.LinkEldest}, // a PGP key
	{kbsig.LinkSibkey}, // likewise
	{kbsig.LinkPGPUpdate},
}

// CheckBatch judges all links of one request in order, with what came beside
// them, and returns the state after the last. Nothing may be appended unless it
// returns no error. Storing the boxes is left to the caller.
func CheckBatch(s *State, links []*Link, x Extras, env Env) (*State, error) {
	if len(links) == 0 || len(links) > batchLinksMax {
		return nil, refuse(KindBatch, "%d links", len(links))
	}
	next := s
	for i, l := range links {
		if err := checkArrival(l, env); err != nil {
			return nil, fmt.Errorf("link %d of %d: %w", i+1, len(links), err)
		}
		var err error
		if next, err = next.Apply(l, env); err != nil {
			return nil, fmt.Errorf("link %d of %d: %w", i+1, len(links), err)
		}
	}
	if err := checkShape(links); err != nil {
		return nil, err
	}
	if err := checkLease(links[len(links)-1], x.Lease); err != nil {
		return nil, err
	}
	return next, next.checkBoxes(s, links, x.PUK)
}

// checkArrival: time and root are those of a client that is posting now.
func checkArrival(l *Link, env Env) error {
	now := env.Now()
	if l.Ctime < now.Add(-ctimeBehindMax).Unix() {
		return refuse(KindOrder, "made %d s ago", now.Unix()-l.Ctime)
	}
	if l.Root.Seqno >= env.LatestRoot() {
		return nil
	}
	after, ok, err := env.Root(l.Root.Seqno + 1)
	if err != nil {
		return fmt.Errorf("root %d: %w", l.Root.Seqno+1, err)
	}
	if !ok || after.Ctime < now.Add(-rootAgeMax).Unix() {
		return refuse(KindOrder, "quotes root %d, which is too old", l.Root.Seqno)
	}
	return nil
}

func checkShape(links []*Link) error {
	types := make([]kbsig.LinkType, len(links))
	for i, l := range links {
		types[i] = l.Type
	}
	for _, want := range batchKinds {
		if slices.Equal(types, want) && pgpAlone(links) {
			return checkTogether(links)
		}
	}
	return refuse(KindBatch, "links %v are not posted together", types)
}

// checkTogether: links that come together are about one device.
func checkTogether(links []*Link) error {
	for i, l := range links[1:] {
		before := links[i]
		switch {
		case l.Type == kbsig.LinkSubkey && (l.Parent != before.Key || l.Device.ID != before.Device.ID):
			return refuse(KindDeviceOther, "subkey of another device than the new one")
		case l.Type == kbsig.LinkPerUserKey && l.KID != before.KID,
			l.Type == kbsig.LinkRevoke && l.KID != before.KID:
			return refuse(KindBatch, "%s signed by another device", l.Type)
		case l.Type == kbsig.LinkRevoke && l.Revoke.SigIDs != nil:
			return refuse(KindBatch, "new per-user key beside a revocation of signatures")
		}
	}
	return nil
}

// checkLease: a revocation quotes a root at which its lease held already.
func checkLease(l *Link, lease *Lease) error {
	if l.Revoke == nil {
		return nil
	}
	if lease == nil {
		return refuse(KindNoLease, "revocation without a lease")
	}
	if l.Root.Seqno < lease.Root {
		return refuse(KindNoLease, "quotes root %d, its lease begins at %d", l.Root.Seqno, lease.Root)
	}
	for _, k := range l.Revoke.KIDs {
		if !slices.Contains(lease.KIDs, k) {
			return refuse(KindNoLease, "lease does not cover %s", k)
		}
	}
	for _, id := range l.Revoke.SigIDs {
		if !slices.Contains(lease.SigIDs, id) {
			return refuse(KindNoLease, "lease does not cover %s", id)
		}
	}
	return nil
}

// checkBoxes: every active device can open the newest per-user key after the
// batch, nobody else gets it, and a revocation rolls it.
func (s *State) checkBoxes(before *State, links []*Link, p *PUKExtra) error {
	var want []kbsig.KID
	prev := false
	newDevice := (links[0].Type == kbsig.LinkSibkey || links[0].Type == kbsig.LinkEldest) && links[0].Device != nil
	rolled := s.PUKGeneration() != 0 && (before.PUKGeneration() != s.PUKGeneration() || before.Eldest != s.Eldest)
	switch {
	case rolled:
		// Nobody is left after the last device has gone; clients then send no
		// boxes, but the section. client: go/engine/revoke.go:getPukReceivers
		want, prev = append([]kbsig.KID{}, s.ActiveEncryptionKIDs()...), s.PUKGeneration() > 1
	case newDevice && s.PUKGeneration() > 0:
		want = []kbsig.KID{links[1].Key}
	case links[0].Type == kbsig.LinkRevoke && links[0].Device != nil && s.PUKGeneration() > 0:
		return refuse(KindBatch, "device revoked without a new per-user key")
	}
	if want == nil {
		if p != nil {
			return refuse(KindBoxes, "per_user_key beside links that need none")
		}
		return nil
	}
	if p == nil {
		return refuse(KindBoxes, "per_user_key is missing")
	}
	if p.Generation != s.PUKGeneration() {
		return refuse(KindGeneration, "boxes for generation %d, not %d", p.Generation, s.PUKGeneration())
	}
	if len(p.Boxes) > pukBoxesMax || len(p.Boxes) != len(want) {
		return refuse(KindBoxes, "%d boxes for %d devices", len(p.Boxes), len(want))
	}
	if err := checkPrev(p.Prev, prev); err != nil {
		return err
	}
	for i := range p.Boxes {
		if err := s.checkBox(&p.Boxes[i], &want); err != nil {
			return fmt.Errorf("box %d: %w", i, err)
		}
	}
	return nil
}

// checkBox takes the box's receiver off the list of those who still want one.
// client: go/libkb/per_user_key.go:NewPerUserKeyBox
func (s *State) checkBox(b *Box, want *[]kbsig.KID) error {
	at := slices.Index(*want, b.ReceiverKID)
	if at < 0 {
		return refuse(KindBoxes, "for %s, who gets none, or a second one", b.ReceiverKID)
	}
	*want = slices.Delete(*want, at, at+1)
	if b.Generation != s.PUKGeneration() {
		return refuse(KindGeneration, "of generation %d, not %d", b.Generation, s.PUKGeneration())
	}
	enc, err := kbsig.DecodeArmoredEncryption(b.Box)
	if err != nil {
		return refuse(KindBoxes, "%w", err)
	}
	if enc.Receiver != b.ReceiverKID {
		return refuse(KindBoxes, "sealed for %s, not %s", enc.Receiver, b.ReceiverKID)
	}
	sender, ok := s.Key(enc.Sender)
	if !ok || sender.Role != RoleSubkey || !s.live(sender.Incarnation) {
		return refuse(KindBoxes, "sealed by %s, which is no device of the account", enc.Sender)
	}
	if enc.CiphertextBytes != pukSeedBytes+boxOverheadBytes {
		return refuse(KindBoxes, "seals %d bytes", enc.CiphertextBytes)
	}
	return nil
}

// Sizes of what is sealed, in bytes. client: go/libkb/per_user_key.go:newPerUserKeyPrev
const (
	pukSeedBytes     = 32
	boxOverheadBytes = 16
	pukPrevBytes     = 1 + 1 + (2 + 24) + (2 + pukSeedBytes + boxOverheadBytes)
)

// checkPrev: the previous generation sealed under the new one, if there is one.
func checkPrev(prev string, wanted bool) error {
	if !wanted {
		if prev != "" {
			return refuse(KindBoxes, "prev without an earlier generation")
		}
		return nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(prev)
	frame := []byte{0x93, 1, 0xc4, 24} // [version 1, nonce, sealed]
	ok := err == nil && len(b) == pukPrevBytes && slices.Equal(b[:4], frame) &&
		b[28] == 0xc4 && b[29] == pukSeedBytes+boxOverheadBytes
	if !ok {
		return refuse(KindBoxes, "prev is missing or malformed")
	}
	return nil
}

// AlreadyPosted reports that these links, all of them and in this order, are the
// newest of the chain: the request is a repeat whose first answer was lost. last
// gives a stored link's record by seqno.
func AlreadyPosted(s *State, links []*Link, last func(kbsig.Seqno) (Record, bool, error)) (bool, error) {
	n := len(links)
	if n == 0 || links[n-1].Seqno != s.Tail || links[n-1].ID != s.TailLink || links[n-1].SigID != s.TailSig {
		return false, nil
	}
	for i, l := range links {
		if l.UID != s.UID || l.Seqno != s.Tail-kbsig.Seqno(n-1-i) {
			return false, nil
		}
		rec, ok, err := last(l.Seqno)
		if err != nil {
			return false, fmt.Errorf("link %d: %w", l.Seqno, err)
		}
		if !ok || !slices.Equal(rec.Packet, l.packet) {
			return false, nil
		}
	}
	return true, nil
}
