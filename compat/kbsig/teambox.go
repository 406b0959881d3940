package kbsig

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Limits of boxes of a team's key.
const (
	// TeamBoxesMax bounds the recipients of one request, for one team.
	TeamBoxesMax = 20_000
	// TeamGenerationMax bounds the generation of a team's key.
	TeamGenerationMax = 1 << 30
	// teamSeqnoMax bounds the number of the link that a recipient's key stands in.
	teamSeqnoMax = 1 << 40
)

// Sizes of boxes of a team's key, in bytes.
const (
	teamNoncePrefixBytes = 20
	// teamSealedBytes is a sealed seed: 32 bytes and the authenticator.
	teamSealedBytes = 32 + 16
)

// ErrTeamBox reports boxes of a team's key that are not as clients make them.
var ErrTeamBox = errors.New("malformed boxes of a team key")

// PostedTeamBoxes are boxes as they are posted.
// client: go/teams/keys.go:PerTeamSharedSecretBoxes
type PostedTeamBoxes struct {
	Generation    int64             `json:"generation"`
	EncryptingKID string            `json:"encrypting_kid"`
	Nonce         string            `json:"nonce"`
	Prev          *string           `json:"prev"`
	Boxes         map[string]string `json:"boxes"`
	PublicSummary string            `json:"public_summary"`
}

// TeamBoxes are a team's seed of one generation, sealed for users.
type TeamBoxes struct {
	Generation int64
	Sender     KID                        // the device key that sealed them
	Nonce      [teamNoncePrefixBytes]byte // what their nonces begin with
	// Prev is the seed before, sealed under this one, as received; empty unless the key
	// is new and not the first.
	Prev    string
	Boxes   []TeamBox // in the order of the users
	Summary [32]byte  // SHA-256 of the list of users and their keys, as links quote it
}

// TeamBox is a seed sealed for one user.
// client: go/teams/keys.go:PerTeamSharedSecretBox
type TeamBox struct {
	User     UID
	PUKSeqno Seqno // the link of the user that brought the key it is sealed for
	Counter  uint32
	Sealed   [teamSealedBytes]byte
}

// ParseTeamBoxes checks everything that can be checked without the chain: encodings,
// sizes, that no nonce comes twice, and that the summary says what the boxes are.
func ParseTeamBoxes(p PostedTeamBoxes) (*TeamBoxes, error) {
	if p.Generation < 1 || p.Generation > TeamGenerationMax {
		return nil, fmt.Errorf("generation out of range: %w", ErrTeamBox)
	}
	if n := len(p.Boxes); n == 0 || n > TeamBoxesMax {
		return nil, fmt.Errorf("%d boxes: %w", n, ErrTeamBox)
	}
	out := &TeamBoxes{Generation: p.Generation, Boxes: make([]TeamBox, 0, len(p.Boxes))}
	var err error
	if out.Sender, err = ParseKID(p.EncryptingKID); err != nil {
		return nil, fmt.Errorf("encrypting_kid: %w: %w", ErrTeamBox, err)
	}
	if err := CheckEncryptionKey(out.Sender); err != nil {
		return nil, fmt.Errorf("encrypting_kid: %w: %w", ErrTeamBox, err)
	}
	nonce, err := base64.StdEncoding.Strict().DecodeString(p.Nonce)
	if err != nil || len(nonce) != len(out.Nonce) {
		return nil, fmt.Errorf("nonce: %w", ErrTeamBox)
	}
	copy(out.Nonce[:], nonce)
	if p.Prev != nil {
		if err := checkTeamPrev(*p.Prev, out.Nonce); err != nil {
			return nil, err
		}
		out.Prev = *p.Prev
	}
	for uid, text := range p.Boxes {
		b, err := parseTeamBox(uid, text)
		if err != nil {
			return nil, err
		}
		out.Boxes = append(out.Boxes, b)
	}
	slices.SortFunc(out.Boxes, func(a, b TeamBox) int { return bytes.Compare(a.User[:], b.User[:]) })
	if err := out.checkNonces(); err != nil {
		return nil, err
	}
	summary, err := base64.StdEncoding.Strict().DecodeString(p.PublicSummary)
	if err != nil || !bytes.Equal(summary, out.summary()) {
		return nil, fmt.Errorf("public_summary is about other boxes: %w", ErrTeamBox)
	}
	out.Summary = sha256.Sum256(summary)
	return out, nil
}

func parseTeamBox(uid, text string) (b TeamBox, err error) {
	if b.User, err = ParseUID(uid); err != nil {
		return b, fmt.Errorf("boxes: %w: %w", ErrTeamBox, err)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return b, fmt.Errorf("box of %s: %w", b.User, ErrTeamBox)
	}
	r := msgpackReader{buf: raw}
	r.arrayOf(4, "box")
	if v := r.uint(math.MaxInt32, "version"); r.err == nil && v != 1 {
		r.fail("version")
	}
	b.PUKSeqno = Seqno(r.uint(teamSeqnoMax, "per-user-key seqno"))
	b.Counter = uint32(r.uint(math.MaxUint32, "nonce counter"))
	copy(b.Sealed[:], r.binOf(teamSealedBytes, "sealed seed"))
	if err := r.end(); err != nil {
		return b, fmt.Errorf("box of %s: %w: %w", b.User, ErrTeamBox, err)
	}
	if b.PUKSeqno == 0 || b.Counter == 0 {
		return b, fmt.Errorf("box of %s: %w", b.User, ErrTeamBox)
	}
	return b, nil
}

// checkTeamPrev: the seed before is sealed with counter 0 of the same nonces.
// client: go/teams/keys.go:encodeSealedPrevKey
func checkTeamPrev(text string, prefix [teamNoncePrefixBytes]byte) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return fmt.Errorf("prev: %w", ErrTeamBox)
	}
	r := msgpackReader{buf: raw}
	r.arrayOf(3, "prev")
	if v := r.uint(math.MaxInt32, "version"); r.err == nil && v != 1 {
		r.fail("version")
	}
	nonce := r.binOf(24, "nonce")
	r.binOf(teamSealedBytes, "sealed seed")
	if err := r.end(); err != nil {
		return fmt.Errorf("prev: %w: %w", ErrTeamBox, err)
	}
	if want := teamNonce(prefix, 0); !bytes.Equal(nonce, want[:]) {
		return fmt.Errorf("prev: another nonce: %w", ErrTeamBox)
	}
	return nil
}

func (b *TeamBoxes) checkNonces() error {
	seen := make(map[uint32]bool, len(b.Boxes))
	for _, box := range b.Boxes {
		if seen[box.Counter] {
			return fmt.Errorf("box of %s: a nonce comes twice: %w", box.User, ErrTeamBox)
		}
		seen[box.Counter] = true
	}
	return nil
}

// Nonce24 is the whole nonce of a box. client: go/teams/nonce.go:nonce24.Nonce
func (b *TeamBoxes) Nonce24(box TeamBox) [24]byte { return teamNonce(b.Nonce, box.Counter) }

func teamNonce(prefix [teamNoncePrefixBytes]byte, counter uint32) (out [24]byte) {
	copy(out[:], prefix[:])
	binary.BigEndian.PutUint32(out[len(prefix):], counter)
	return out
}

// summary is the canonical map from users to the links of their keys.
// client: go/teams/box_public_summary.go:newBoxPublicSummaryFromTable
func (b *TeamBoxes) summary() []byte {
	const entry = 2 + 2*uidBytes + 9
	out := make([]byte, 0, 5+len(b.Boxes)*entry)
	switch n := len(b.Boxes); {
	case n < 16:
		out = append(out, mpFixMap|byte(n))
	case n <= math.MaxUint16:
		out = binary.BigEndian.AppendUint16(append(out, 0xde), uint16(n))
	default:
		out = binary.BigEndian.AppendUint32(append(out, 0xdf), uint32(n))
	}
	for _, box := range b.Boxes {
		// Ids sort as their hex does.
		out = append(out, 0xd9, 2*uidBytes)
		out = append(out, box.User.String()...)
		out = appendUint(out, uint64(box.PUKSeqno))
	}
	return out
}
