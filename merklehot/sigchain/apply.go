package sigchain

import (
	"fmt"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
)

// ctimeAheadMax is how far a link's time may be ahead of ours, and how far behind
// the root that it quotes: room for devices whose clocks are wrong.
const ctimeAheadMax = 24 * time.Hour

// Env is what judging a link needs from outside its chain. Answers must be those
// of the transaction that will append the link.
type Env interface {
	// Now is the server's time.
	Now() time.Time
	// Root finds a published root.
	Root(seqno kbsig.Seqno) (ref RootRef, ok bool, err error)
	// LatestRoot is the newest published root.
	LatestRoot() kbsig.Seqno
	// KIDTaken reports that a key occurs in any user's chain, in any role, also
	// in this user's and in old incarnations.
	KIDTaken(kid kbsig.KID) (bool, error)
	// UserExists reports that there is such a user to follow.
	UserExists(uid kbsig.UID) (bool, error)
	// Bundle is the PGP key that came with an earlier link of a chain.
	Bundle(uid kbsig.UID, seqno kbsig.Seqno) (string, error)
}

// effects has what each type of link does to a state that it may be appended to.
var effects = map[kbsig.LinkType]func(*State, *Link, Env) error{
	kbsig.LinkEldest:     (*State).addEldest,
	kbsig.LinkSibkey:     (*State).addSibkey,
	kbsig.LinkSubkey:     (*State).addSubkey,
	kbsig.LinkPerUserKey: (*State).addPerUserKey,
	kbsig.LinkRevoke:     (*State).revoke,
	kbsig.LinkTrack:      (*State).track,
	kbsig.LinkUntrack:    (*State).untrack,
	kbsig.LinkPGPUpdate:  (*State).updatePGP,
	kbsig.LinkDevice:     (*State).rename,

	kbsig.LinkWebServiceBinding:       (*State).bind,
	kbsig.LinkWebServiceBindingRevoke: (*State).bind,
	kbsig.LinkCryptocurrency:          (*State).addCurrency,
	kbsig.LinkCryptocurrencyRevoke:    (*State).addCurrency,
	kbsig.LinkWalletStellar:           (*State).setWallet,
	kbsig.LinkWotVouch:                (*State).vouch,
	kbsig.LinkWotVouchRevoke:          (*State).vouch,
	kbsig.LinkWotReact:                (*State).react,
}

// Apply judges one link against the chain so far and returns the state with it.
// These are the rules that hold for ever: an auditor applies them again. Rules
// that hold at the time of posting are CheckBatch's.
func (s *State) Apply(l *Link, env Env) (*State, error) {
	effect := effects[l.Type]
	if effect == nil {
		return nil, refuse(KindNotAvailable, "link of type %s is not available on this server yet", l.Type)
	}
	if err := s.checkPlace(l); err != nil {
		return nil, err
	}
	if err := s.checkSigner(l); err != nil {
		return nil, err
	}
	if err := s.checkPGPSigner(l, env); err != nil {
		return nil, err
	}
	if err := checkTime(l, env); err != nil {
		return nil, err
	}
	next := s.clone()
	if err := effect(next, l, env); err != nil {
		return nil, err
	}
	next.Tail, next.TailLink, next.TailSig = l.Seqno, l.ID, l.SigID
	if l.Type.High() {
		next.HighSkip = kbsig.HighSkip{Seqno: l.Seqno, Hash: l.ID}
	}
	return next, nil
}

// checkPlace: the link belongs to this user and comes next.
// client: go/libkb/sig_chain.go:VerifyChain
func (s *State) checkPlace(l *Link) error {
	switch {
	case s.Deleted:
		return refuse(KindDeleted, "link of %s, who is deleted", s.UID)
	case l.UID != s.UID || l.Username != s.Username:
		return refuse(KindWrongUser, "link of %s (%s) in the chain of %s", l.UID, l.Username, s.UID)
	case l.Seqno != s.Tail+1:
		return refuse(KindOldSeqno, "link %d after link %d", l.Seqno, s.Tail)
	case l.Prev != s.TailLink:
		return refuse(KindOldSeqno, "link %d after another link than %s", l.Seqno, s.TailLink)
	case l.HighSkip != nil && *l.HighSkip != s.HighSkip:
		return refuse(KindOrder, "high_skip to link %d, not %d", l.HighSkip.Seqno, s.HighSkip.Seqno)
	case s.Tail >= chainLinksMax:
		return refuse(KindTooMany, "chain of %d links", s.Tail)
	}
	return nil
}

// checkSigner: an active sibkey of the current incarnation signs, or the new
// eldest key itself. client: go/libkb/keyfamily.go:FindActiveSibkeyAtTime
func (s *State) checkSigner(l *Link) error {
	if l.Type == kbsig.LinkEldest {
		if !s.Eldest.IsZero() {
			return refuse(KindEldest, "eldest link although the account has the eldest key %s", s.Eldest)
		}
		return nil
	}
	if s.Eldest.IsZero() {
		return refuse(KindNoEldest, "link of type %s without an eldest key", l.Type)
	}
	if l.Eldest != s.Eldest {
		return refuse(KindEldest, "eldest key %s, not %s", l.Eldest, s.Eldest)
	}
	k, ok := s.Key(l.KID)
	switch {
	case !ok || !s.live(k.Incarnation) || k.Role == RoleSubkey:
		return refuse(KindWrongKey, "%s is no sibkey of the account", l.KID)
	case k.RevokedAt != 0:
		return refuse(KindKeyRevoked, "%s was revoked by link %d", l.KID, k.RevokedAt)
	}
	return nil
}

// checkTime: the quoted root was published, and the link's own time fits it.
func checkTime(l *Link, env Env) error {
	if l.Root.Seqno > env.LatestRoot() {
		return refuse(KindOrder, "quotes root %d, which is not published", l.Root.Seqno)
	}
	ref, ok, err := env.Root(l.Root.Seqno)
	if err != nil {
		return fmt.Errorf("root %d: %w", l.Root.Seqno, err)
	}
	if !ok || ref != l.Root {
		return refuse(KindOrder, "quotes a root %d that was never published", l.Root.Seqno)
	}
	slack := int64(ctimeAheadMax / time.Second)
	if l.Ctime > env.Now().Unix()+slack {
		return refuse(KindOrder, "made %d s from now", l.Ctime-env.Now().Unix())
	}
	if l.Ctime < ref.Ctime-slack {
		return refuse(KindOrder, "made %d s before the root it quotes", ref.Ctime-l.Ctime)
	}
	return nil
}
