package kbsig

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// keyset spells adopted keys as a client does.
func keyset(version byte, nonce, sealed int) string {
	b := []byte{0x83, 0xa1, 'v', version, 0xa1, 'e'}
	b = appendBin(b, make([]byte, sealed))
	b = appendBin(append(b, 0xa1, 'n'), make([]byte, nonce))
	return base64.StdEncoding.EncodeToString(b)
}

// TestCheckKeyset proves that of adopted keys only what clients can decode is taken.
func TestCheckKeyset(t *testing.T) {
	if err := CheckKeyset(keyset(1, 24, 80)); err != nil {
		t.Error(err)
	}
	for what, text := range map[string]string{
		"nothing": "", "no base64": "%%%%", "another version": keyset(2, 24, 80), "a short nonce": keyset(1, 23, 80),
		"no keys": keyset(1, 24, 16), "bytes left over": keyset(1, 24, 79) + "AAAA", "too long": keyset(1, 24, KeysetCharsMax),
		"twice the same": base64.StdEncoding.EncodeToString([]byte{0x83, 0xa1, 'v', 1, 0xa1, 'v', 1, 0xa1, 'v', 1}),
	} {
		if err := CheckKeyset(text); !errors.Is(err, ErrKeyset) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzCheckKeyset proves that whatever is sent as adopted keys is judged within bounds,
// and that nothing is taken which is no base64 of a list of three.
func FuzzCheckKeyset(f *testing.F) {
	f.Add(keyset(1, 24, 80))
	f.Add(keyset(1, 24, 16))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		frugal(t, len(text), func() {
			if CheckKeyset(text) != nil {
				return
			}
			if b, err := base64.StdEncoding.DecodeString(text); err != nil || b[0] != 0x83 || len(b) < 24+keysetSealedMin {
				t.Fatalf("taken: %q", text)
			}
		})
	})
}

// TestTeamJSON proves that a link of a team may be longer than other statements, and has
// bounds of its own.
func TestTeamJSON(t *testing.T) {
	long := `{"a":"` + strings.Repeat("x", InnerBytesMax) + `"}`
	many := `{"a":[` + strings.Repeat("0,", innerMembersMax) + `0]}`
	for _, doc := range []string{long, many} {
		if _, err := ParseTeamJSON([]byte(doc)); err != nil {
			t.Errorf("%.20s: %v", doc, err)
		}
		if _, err := ParseSignedJSON([]byte(doc), true); !errors.Is(err, ErrJSON) {
			t.Errorf("%.20s: %v", doc, err)
		}
	}
	for _, doc := range []string{
		`{"a":"` + strings.Repeat("x", TeamInnerBytesMax) + `"}`, `{"a":[` + strings.Repeat("0,", teamInnerMembersMax) + `0]}`, `{"b":1,"a":1}`,
	} {
		if _, err := ParseTeamJSON([]byte(doc)); !errors.Is(err, ErrJSON) {
			t.Errorf("%.20s: %v", doc, err)
		}
	}
}
