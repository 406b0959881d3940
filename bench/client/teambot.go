package client

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strconv"
)

// What keys of restricted bots are derived for.
// client: go/libkb/constants.go:EncryptionReasonTeambotKey
const (
	reasonBotSeed   = "Keybase-Teambot-Key-1"
	reasonBotEKSeed = "Keybase-Teambot-Ephemeral-Key-1"
	reasonBotKey    = "Derived-Teambot-Key-NaCl-DH-1"
	reasonBotEK     = "Derived-Ephemeral-Teambot-NaCl-DH-1"
)

// BotKey is a key that members of a team derive from theirs for a restricted bot.
type BotKey struct {
	Generation int
	Seed       Seed
	Key        *DHKey
}

// newBotKey derives a bot's key of an application.
// client: go/teambot/member_keyer.go:MemberKeyer.deriveTeambotKeyFromAppKey
func newBotKey(bot UID, app TeamApplication, generation int, secret [32]byte) *BotKey {
	seed := botSeed(secret, bot[:], []byte{byte(app)}, []byte(reasonBotSeed))
	return &BotKey{generation, seed, NewDHKey(seed.derive(reasonBotKey))}
}

// newBotEK derives a bot's ephemeral key from the team's.
// client: go/ephemeral/teambot_ek.go:deriveTeambotEKFromTeamEK
func newBotEK(bot UID, ek *TeamEK) *BotKey {
	seed := botSeed(ek.Seed, bot[:], []byte(reasonBotEKSeed))
	return &BotKey{ek.Generation, seed, NewDHKey(seed.derive(reasonBotEK))}
}

func botSeed(secret [32]byte, parts ...[]byte) (seed Seed) {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(slices.Concat(parts...))
	mac.Sum(seed[:0])
	return seed
}

// PostBotKey publishes a restricted bot's key of an application and a generation of the
// team's key, signed by the newest that t has. client: go/teambot/member_keyer.go:MemberKeyer.prepareNewTeambotKey
func (a *Account) PostBotKey(ctx context.Context, t *Team, bot UID, app TeamApplication, generation int) (*BotKey, error) {
	secret, err := t.ApplicationKey(app, generation)
	if err != nil {
		return nil, err
	}
	u, err := a.Verifier.LoadUser(ctx, bot, LoadOptions{})
	if err != nil {
		return nil, err
	}
	puk := u.Family.LatestPUK()
	if puk == nil {
		return nil, fmt.Errorf("%s has no per-user key", u.Username)
	}
	k := newBotKey(bot, app, generation, secret)
	statement := fmt.Sprintf(`{"teambot_dh_public":"%s","generation":%d,"uid":"%s","puk_generation":%d,"application":%d}`,
		k.Key.KID(), generation, bot, puk.Generation, app)
	return k, a.postBotKey(ctx, t, k, statement, puk.DH, url.Values{"is_ephemeral": {"false"}})
}

// PostBotEK publishes a restricted bot's ephemeral key, derived from one of the team, for
// the bot's newest of its own. client: go/ephemeral/teambot_ek.go:prepareNewTeambotEK
func (a *Account) PostBotEK(ctx context.Context, t *Team, bot UID, ek *TeamEK) (*BotKey, error) {
	theirs, err := a.UserEK(ctx, bot)
	if err != nil {
		return nil, err
	}
	if theirs == nil {
		return nil, fmt.Errorf("bot %s has no ephemeral key", bot)
	}
	root, err := a.Verifier.RefreshRoot(ctx)
	if err != nil {
		return nil, err
	}
	k := newBotEK(bot, ek)
	statement := fmt.Sprintf(`{"teambot_dh_public":"%s","generation":%d,"uid":"%s","user_ek_generation":%d,"hash_meta":"%s","ctime":%d}`,
		k.Key.KID(), k.Generation, bot, theirs.Generation, root.HashMeta, root.Ctime*1000)
	return k, a.postBotKey(ctx, t, k, statement, theirs.KID, url.Values{"is_ephemeral": {"true"}, "application": {strconv.Itoa(int(AppChat))}})
}

func (a *Account) postBotKey(ctx context.Context, t *Team, k *BotKey, statement string, to KID, args url.Values) error {
	box, err := SealAnonymous(a.Server().Random, k.Seed[:], to)
	if err != nil {
		return err
	}
	args.Set("team_id", t.ID.String())
	args.Set("sig", SignPacket(t.Key().Sig, []byte(statement)).Armor())
	args.Set("box", box.Armor())
	_, err = a.postForm(ctx, "teambot/key", args, a.credential())
	return err
}

// BotStatement is a signed announcement of a restricted bot's key.
// client: go/protocol/keybase1/teambot.go:TeambotKeyMetadata, go/protocol/keybase1/ephemeral.go:TeambotEkMetadata
type BotStatement struct {
	KID, Signer KID
	Generation  int
	Sealed      int // generation of the bot's own key that it is encrypted to
}

func (a *Account) openBotStatement(armored string, app TeamApplication, ephemeral bool) (*BotStatement, error) {
	signer, payload, _, err := openArmored(armored)
	if err != nil {
		return nil, err
	}
	o, err := parseObject(payload)
	if err != nil {
		return nil, err
	}
	s := &BotStatement{Signer: signer}
	if s.KID, err = o.kid("teambot_dh_public"); err != nil {
		return nil, err
	}
	generation, err := o.int("generation")
	if err != nil {
		return nil, err
	}
	field := "user_ek_generation"
	if !ephemeral {
		field = "puk_generation"
		if n, err := o.int("application"); err != nil || TeamApplication(n) != app {
			return nil, fmt.Errorf("application %d in place of %d: %w", n, app, err)
		}
	}
	sealed, err := o.int(field)
	if err != nil {
		return nil, err
	}
	if uid, err := o.str("uid"); err != nil || uid != a.UID.String() {
		return nil, fmt.Errorf("a key of %q", uid)
	}
	s.Generation, s.Sealed = int(generation), int(sealed)
	return s, nil
}

// BotKeyNow is the newest statement about a key of ours, nil without any.
// client: go/ephemeral/teambot_ek.go:fetchLatestTeambotEK
func (a *Account) BotKeyNow(ctx context.Context, team TeamID, app TeamApplication, ephemeral bool) (*BotStatement, error) {
	reply, err := a.Server().Get(ctx, "teambot/key", url.Values{
		"team_id": {team.String()}, "application": {strconv.Itoa(int(app))}, "is_ephemeral": {strconv.FormatBool(ephemeral)},
	}, a.credential())
	if err != nil {
		return nil, err
	}
	var r *struct {
		Sig string `json:"sig"`
	}
	if err := reply.into("result", &r); err != nil || r == nil {
		return nil, err
	}
	s, err := a.openBotStatement(r.Sig, app, ephemeral)
	if err != nil {
		return nil, violated(RuleEK, "teambot/key", "%v", err)
	}
	return s, nil
}

// OpenBotKey fetches our box of a generation and opens it with our own key; nil if there
// is none. client: go/teambot/bot_keyer.go:BotKeyer.fetchAndStore, go/ephemeral/teambot_ek.go:TeambotEphemeralKeyer.Unbox
func (a *Account) OpenBotKey(ctx context.Context, team TeamID, app TeamApplication, generation int, ephemeral bool) (*BotKey, error) {
	reply, err := a.Server().Get(ctx, "teambot/box", url.Values{
		"team_id": {team.String()}, "application": {strconv.Itoa(int(app))}, "generation": {strconv.Itoa(generation)},
		"is_ephemeral": {strconv.FormatBool(ephemeral)},
	}, a.credential())
	if err != nil {
		return nil, err
	}
	var r *struct {
		Box string `json:"box"`
		Sig string `json:"sig"`
	}
	if err := reply.into("result", &r); err != nil || r == nil {
		return nil, err
	}
	s, err := a.openBotStatement(r.Sig, app, ephemeral)
	if err != nil || s.Generation != generation {
		return nil, violated(RuleEK, "teambot/box", "not a statement of generation %d: %v", generation, err)
	}
	mine, reason, err := a.botOpener(ctx, s.Sealed, ephemeral)
	if err != nil {
		return nil, err
	}
	seed, _, err := mine.Open(r.Box)
	if err != nil || len(seed) != len(Seed{}) {
		return nil, violated(RuleBox, "teambot/box", "%v", err)
	}
	k := &BotKey{generation, Seed(seed), NewDHKey(Seed(seed).derive(reason))}
	if k.Key.KID() != s.KID {
		return nil, violated(RuleBox, "teambot/box", "the seed makes another key")
	}
	return k, nil
}

// botOpener is our own key that a box for us is encrypted to.
func (a *Account) botOpener(ctx context.Context, generation int, ephemeral bool) (mine *DHKey, reason string, err error) {
	if !ephemeral {
		if generation < 1 || generation > len(a.PUKs) {
			return nil, "", violated(RuleBox, "teambot/box", "to generation %d of %d", generation, len(a.PUKs))
		}
		return a.PUKs[generation-1].Enc, reasonBotKey, nil
	}
	ek, err := a.OpenUserEK(ctx, a.Device, generation)
	if err != nil {
		return nil, "", err
	}
	if ek == nil {
		return nil, "", violated(RuleEK, "teambot/box", "to generation %d of ours, which there is not", generation)
	}
	return ek.Key, reasonBotEK, nil
}
