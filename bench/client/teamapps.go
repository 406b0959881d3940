package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"

	"golang.org/x/crypto/nacl/secretbox"
)

// TeamApplication is what a team's key is used for.
// client: go/protocol/keybase1/teams.go:TeamApplication
type TeamApplication int

// Applications that tests use.
const (
	AppKBFS TeamApplication = 1
	AppChat TeamApplication = 2
)

// teamApplications are the uses of a team's key that have masks.
const teamApplications = 7

// teamReasons are what keys of applications are derived for, from 1.
// client: go/libkb/constants.go:TeamKBFSDerivationString
var teamReasons = [teamApplications]string{
	"Keybase-Derived-Team-NaCl-KBFS-1", "Keybase-Derived-Team-NaCl-Chat-1", "Keybase-Derived-Team-NaCl-Saltpack-1",
	"Keybase-Derived-Team-NaCl-GitMetadata-1", "Keybase-Derived-Team-NaCl-SeitanInviteToken-1",
	"Keybase-Derived-Team-NaCl-StellarRelay-1", "Keybase-Derived-Team-NaCl-KVStore-1",
}

// ApplicationKey is the key of an application in a generation: what the members have and
// what the server adds. client: go/teams/appkeys.go:applicationKeyForMask
func (t *Team) ApplicationKey(app TeamApplication, generation int) (key [32]byte, err error) {
	if app < 1 || app > teamApplications {
		return key, fmt.Errorf("no application %d", app)
	}
	mask, ok := t.Masks[[2]int{int(app), generation}]
	k := t.Keys[generation]
	if !ok || k == nil {
		return key, fmt.Errorf("no key of application %d, generation %d", app, generation)
	}
	key = k.Seed.deriveTeam([]byte(teamReasons[app-1]))
	for i := range key {
		key[i] ^= mask[i]
	}
	return key, nil
}

// TeamKeyset is what a link says of old keys of a folder that a team adopts.
// client: go/teams/chain_parse.go:SCTeamKBFSLegacyUpgrade
type TeamKeyset struct {
	Application TeamApplication
	Generation  int // of the team's key that they are sealed under
	Newest      int // of the keys
	Hash        string
}

// legacyUpgrade is how they are posted and served.
// client: go/protocol/keybase1/teams.go:TeamGetLegacyTLFUpgrade
type legacyUpgrade struct {
	EncryptedKeyset  string          `json:"encrypted_keyset"`
	TeamGeneration   int             `json:"team_generation"`
	LegacyGeneration int             `json:"legacy_generation"`
	AppType          TeamApplication `json:"app_type"`
}

// AdoptKeys seals old keys of a folder, the last of generation newest, under a team's key
// and ties them to the team. client: go/teams/teams.go:Team.AssociateWithTLFKeyset
func (a *Account) AdoptKeys(ctx context.Context, t *Team, app TeamApplication, newest int, secret []byte) (*Team, error) {
	at := t.Key().Generation
	key, err := t.ApplicationKey(app, at)
	if err != nil {
		return nil, err
	}
	var nonce [24]byte
	if _, err := io.ReadFull(a.Server().Random, nonce[:]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	var p packer
	p.object(3)
	p.str("v")
	p.int(1)
	p.str("e")
	p.bin(secretbox.Seal(nil, secret, &nonce, &key))
	p.str("n")
	p.bin(nonce[:])
	text := b64(p)
	post, err := a.newTeamPost(ctx, t.Root.Seqno)
	if err != nil {
		return nil, err
	}
	post.follow(t.TeamChain)
	post.body["legacy_tlf_upgrade"] = legacyUpgrade{text, at, newest, app}
	section, err := a.teamSection(ctx, t, map[string]any{"kbfs": map[string]any{"legacy_tlf_upgrade": map[string]any{
		"app_type": int(app), "team_generation": at, "legacy_generation": newest, "encrypted_keyset_hash": keysetHash(text),
	}}})
	if err != nil {
		return nil, err
	}
	if err := post.add(t.ID, "team.kbfs", section, nil, false); err != nil {
		return nil, err
	}
	return post.postAndLoad(ctx, t.ID)
}

func keysetHash(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// keyset reads what a link says of adopted keys; a later link counts more.
// client: go/teams/chain.go:parseKBFSTLFUpgrade
func (c *TeamChain) keyset(l *TeamLink) error {
	if !l.team.has("kbfs", "legacy_tlf_upgrade") {
		return nil
	}
	var k TeamKeyset
	app, err := l.team.int("kbfs", "legacy_tlf_upgrade", "app_type")
	generation, err2 := l.team.int("kbfs", "legacy_tlf_upgrade", "team_generation")
	newest, err3 := l.team.int("kbfs", "legacy_tlf_upgrade", "legacy_generation")
	k.Application, k.Generation, k.Newest = TeamApplication(app), int(generation), int(newest)
	var err4 error
	k.Hash, err4 = l.team.str("kbfs", "legacy_tlf_upgrade", "encrypted_keyset_hash")
	if c.Keysets == nil {
		c.Keysets = make(map[TeamApplication]TeamKeyset)
	}
	c.Keysets[k.Application] = k
	return firstError(err, err2, err3, err4)
}

// openAdopted opens the old keys that the server sent: those of a link, and of its
// application the newest. client: go/teams/loader2.go:addKBFSCryptKeys
func (t *Team) openAdopted(r *teamReply) error {
	subject := "adopted keys of team " + t.ID.String()
	bad := func(format string, args ...any) error { return violated(RuleTeamKey, subject, format, args...) }
	t.Adopted = make(map[TeamApplication][]byte)
	for _, u := range r.LegacyTLF {
		key, err := t.ApplicationKey(u.AppType, u.TeamGeneration)
		if err != nil {
			return bad("%v", err)
		}
		k, ok := t.Keysets[u.AppType]
		switch {
		case !ok:
			return bad("of application %d, which no link names", u.AppType)
		case k.Generation != u.TeamGeneration || k.Newest != u.LegacyGeneration:
			return bad("of generations %d and %d, the link says %d and %d", u.TeamGeneration, u.LegacyGeneration, k.Generation, k.Newest)
		case k.Hash != keysetHash(u.EncryptedKeyset):
			return bad("other keys than the link names")
		}
		raw, err := base64.StdEncoding.DecodeString(u.EncryptedKeyset)
		if err != nil {
			return bad("%v", err)
		}
		v, err := unpack(raw)
		fields, _ := v.([]packField)
		var nonce [24]byte
		var sealed []byte
		for _, f := range fields {
			b, _ := f.value.([]byte)
			switch f.key {
			case "n":
				copy(nonce[:], b)
			case "e":
				sealed = b
			}
		}
		secret, ok := secretbox.Open(nil, sealed, &nonce, &key)
		if err != nil || !ok {
			return bad("they do not open")
		}
		t.Adopted[u.AppType] = secret
	}
	if len(t.Adopted) != len(t.Keysets) {
		return bad("%d of %d", len(t.Adopted), len(t.Keysets))
	}
	return nil
}
