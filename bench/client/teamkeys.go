package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// What keys of a team are derived for. client: go/libkb/constants.go:TeamDHDerivationString
const (
	reasonTeamEncryption = "Keybase-Derived-Team-NaCl-DH-1"
	reasonTeamSigning    = "Keybase-Derived-Team-NaCl-EdDSA-1"
	reasonTeamPrev       = "Keybase-Derived-Team-NaCl-SecretBox-1"
	reasonTeamSeedCheck  = "Keybase-Derived-Team-Seedcheck-1"
)

// TeamKey is one generation of a per-team key with its secret.
// client: go/teams/keys.go:TeamKeyManager
type TeamKey struct {
	Generation int
	Seed       Seed
	Sig        *SigningKey
	Enc        *DHKey
	Check      [32]byte // of this seed and all before it
}

// deriveTeam is HMAC-SHA512 cut to 32 bytes, with the seed as key.
// client: go/teams/keys.go:derivedSecret
func (s Seed) deriveTeam(reason []byte) (out [32]byte) {
	mac := hmac.New(sha512.New, s[:])
	mac.Write(reason)
	copy(out[:], mac.Sum(nil))
	return out
}

// newTeamKey expands a seed; before is the check of the generation before, nil for
// the first. client: go/teams/keys.go:computeSeedCheck
func newTeamKey(id TeamID, generation int, seed Seed, before *TeamKey) *TeamKey {
	k := &TeamKey{
		Generation: generation, Seed: seed,
		Sig: NewSigningKey(Seed(seed.deriveTeam([]byte(reasonTeamSigning)))),
		Enc: NewDHKey(Seed(seed.deriveTeam([]byte(reasonTeamEncryption)))),
	}
	prev := slices.Concat([]byte(reasonTeamSeedCheck), []byte{0}, id[:])
	if before != nil {
		prev = before.Check[:]
	}
	k.Check = seed.deriveTeam(prev)
	return k
}

// TeamBoxes is the seed of one generation sealed for many.
// client: go/teams/keys.go:PerTeamSharedSecretBoxes
type TeamBoxes struct {
	Generation int               `json:"generation"`
	Encrypting string            `json:"encrypting_kid"`
	Nonce      string            `json:"nonce"`
	Prev       *string           `json:"prev"`
	Boxes      map[string]string `json:"boxes"`
	Summary    string            `json:"public_summary"`

	summaryHash string
}

// recipient is somebody who gets a box.
type recipient struct {
	uid UID
	puk PUKInfo
}

// sealTeam boxes a generation for recipients; older, if it rotates, is sealed under
// it. client: go/teams/keys.go:RotateSharedSecretBoxes, sharedBoxes
func (a *Account) sealTeam(k, older *TeamKey, to []recipient) (*TeamBoxes, error) {
	var prefix [20]byte
	if _, err := io.ReadFull(a.Server().Random, prefix[:]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	nonce := func(counter uint32) (n [24]byte) {
		copy(n[:], prefix[:])
		binary.BigEndian.PutUint32(n[20:], counter)
		return n
	}
	out := &TeamBoxes{
		Generation: k.Generation, Encrypting: a.Device.Enc.KID().String(), Nonce: b64(prefix[:]),
		Boxes: make(map[string]string, len(to)),
	}
	if older != nil {
		n, key := nonce(0), k.Seed.deriveTeam([]byte(reasonTeamPrev))
		var w packer
		w.array(3)
		w.int(1)
		w.bin(n[:])
		w.bin(secretbox.Seal(nil, older.Seed[:], &n, &key))
		prev := b64(w)
		out.Prev = &prev
	}
	slices.SortFunc(to, func(x, y recipient) int { return slices.Compare(x.uid[:], y.uid[:]) })
	var summary packer
	summary.object(len(to))
	for i, r := range to {
		n := nonce(uint32(i + 1))
		pub := [32]byte(r.puk.DH[2:34])
		var w packer
		w.array(4)
		w.int(1)
		w.int(int64(r.puk.Seqno))
		w.int(int64(i + 1))
		w.bin(box.Seal(nil, k.Seed[:], &n, &pub, &a.Device.Enc.priv))
		out.Boxes[r.uid.String()] = b64(w)
		summary.str(r.uid.String())
		summary.int(int64(r.puk.Seqno))
	}
	h := sha256.Sum256(summary)
	out.Summary, out.summaryHash = b64(summary), hex.EncodeToString(h[:])
	return out, nil
}

// teamBox is the box as team/get returns it. client: go/teams/box.go:TeamBox
type teamBox struct {
	Nonce      string `json:"nonce"`
	Sender     string `json:"sender_kid"`
	Generation int    `json:"generation"`
	Ciphertext string `json:"ctext"`
	PUKSeqno   Seqno  `json:"per_user_key_seqno"`
}

// open finds the per-user key that a box is for and opens it.
// client: go/teams/loader2.go:unboxPerTeamSecrets
func (b *teamBox) open(a *Account) (seed Seed, err error) {
	nonce, err := unbase64(b.Nonce)
	if err != nil || len(nonce) != 24 {
		return seed, errors.New("nonce is not base64 of 24 bytes")
	}
	ciphertext, err := unbase64(b.Ciphertext)
	if err != nil {
		return seed, fmt.Errorf("ctext: %w", err)
	}
	sender, err := ParseKID(b.Sender)
	if err != nil || !sender.IsDH() {
		return seed, fmt.Errorf("sender_kid %q", b.Sender)
	}
	if a.Me == nil || a.Me.Family == nil {
		return seed, errors.New("no per-user keys")
	}
	for i, info := range a.Me.Family.PUKs {
		if info.Seqno != b.PUKSeqno {
			continue
		}
		if i >= len(a.PUKs) {
			return seed, fmt.Errorf("per-user key of link %d is not at hand", info.Seqno)
		}
		pub := [32]byte(sender[2:34])
		plain, ok := box.Open(nil, ciphertext, (*[24]byte)(nonce), &pub, &a.PUKs[i].Enc.priv)
		if !ok || len(plain) != len(seed) {
			return seed, errors.New("does not open to a seed")
		}
		return Seed(plain), nil
	}
	return seed, fmt.Errorf("for the per-user key of link %d, which is none", b.PUKSeqno)
}

// openTeamPrev opens the seed before a generation.
// client: go/teams/keys.go:decryptPrevSingle
func openTeamPrev(after Seed, prev string) (s Seed, err error) {
	b, err := unbase64(prev)
	if err != nil {
		return s, err
	}
	v, err := unpack(b)
	if err != nil {
		return s, err
	}
	parts, err := as[[]any](v)
	if err != nil || len(parts) != 3 || parts[0] != any(int64(1)) {
		return s, errors.New("prev is not [1, nonce, sealed]")
	}
	nonce, err1 := as[[]byte](parts[1])
	sealed, err2 := as[[]byte](parts[2])
	if err1 != nil || err2 != nil || len(nonce) != 24 {
		return s, errors.New("prev with odd parts")
	}
	key := after.deriveTeam([]byte(reasonTeamPrev))
	out, ok := secretbox.Open(nil, sealed, (*[24]byte)(nonce), &key)
	if !ok || len(out) != len(s) {
		return s, errors.New("prev does not open to a seed")
	}
	return Seed(out), nil
}
