package kbsig

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// postedBoxes are boxes of two users as a client would post them.
func postedBoxes() PostedTeamBoxes {
	sender := boxKID("sender")
	b := TeamBoxes{Generation: 2}
	p := PostedTeamBoxes{
		Generation: 2, EncryptingKID: sender.String(), Nonce: base64.StdEncoding.EncodeToString(b.Nonce[:]), Boxes: make(map[string]string),
	}
	for i, name := range []Username{"alice", "bobby"} {
		u := UIDOf(name)
		box := append([]byte{0x94, 1, 3, byte(i + 2), 0xc4, teamSealedBytes}, make([]byte, teamSealedBytes)...)
		p.Boxes[u.String()] = base64.StdEncoding.EncodeToString(box)
		b.Boxes = append(b.Boxes, TeamBox{User: u, PUKSeqno: 3, Counter: uint32(i + 2)})
	}
	if bytes.Compare(b.Boxes[0].User[:], b.Boxes[1].User[:]) > 0 {
		b.Boxes[0], b.Boxes[1] = b.Boxes[1], b.Boxes[0]
	}
	prev := append([]byte{0x93, 1, 0xc4, 24}, append(b.Nonce[:], 0, 0, 0, 0)...)
	prev = append(append(prev, 0xc4, teamSealedBytes), make([]byte, teamSealedBytes)...)
	text := base64.StdEncoding.EncodeToString(prev)
	p.Prev, p.PublicSummary = &text, base64.StdEncoding.EncodeToString(b.summary())
	return p
}

// FuzzTeamBoxes proves that boxes of a team's key are refused as such, or are what they
// say: within their limits, no nonce twice, and just those that the summary is about; and
// that reading them costs no more memory than they are long.
func FuzzTeamBoxes(f *testing.F) {
	good := postedBoxes()
	if _, err := ParseTeamBoxes(good); err != nil {
		f.Fatal(err)
	}
	add := func(change func(*PostedTeamBoxes)) {
		p := postedBoxes()
		change(&p)
		b, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(func(*PostedTeamBoxes) {})
	add(func(p *PostedTeamBoxes) { p.Prev = nil })
	add(func(p *PostedTeamBoxes) { p.Generation = 1 << 31 })
	add(func(p *PostedTeamBoxes) { p.Boxes["x"] = "AAAA" })
	add(func(p *PostedTeamBoxes) { p.PublicSummary += "\n" })
	f.Fuzz(func(t *testing.T, doc []byte) {
		var p PostedTeamBoxes
		if json.Unmarshal(doc, &p) != nil {
			return
		}
		frugal(t, len(doc), func() {
			b, err := ParseTeamBoxes(p)
			if err != nil {
				return
			}
			nonces := make(map[[24]byte]bool)
			for _, box := range b.Boxes {
				nonces[b.Nonce24(box)] = true
			}
			if len(nonces) != len(b.Boxes) || len(b.Boxes) != len(p.Boxes) || b.Summary != sha256.Sum256(b.summary()) || b.Generation < 1 || b.Generation > TeamGenerationMax {
				t.Fatalf("taken: %s", doc)
			}
		})
	})
}

// FuzzTeamStatements proves that a statement about a team's ephemeral key, or a key of a
// bot, is taken only with a signature of whom it names, of that kind and no other.
func FuzzTeamStatements(f *testing.F) {
	key := testKey("team")
	dh := boxKID("key").String()
	hash := strings.Repeat("0a", 32)
	for _, doc := range []string{
		fmt.Sprintf(`{"current_team_ek_metadata":{"ctime":1500000000000,"generation":1,"hash_meta":"%s","team_ephemeral_dh_public":"%s"}}`, hash, dh),
		fmt.Sprintf(`{"application":3,"generation":1,"puk_generation":1,"teambot_dh_public":"%s","uid":"%s"}`, dh, UIDOf("robot")),
		fmt.Sprintf(`{"ctime":1500000000000,"generation":1,"hash_meta":"%s","teambot_dh_public":"%s","uid":"%s","user_ek_generation":1}`, hash, dh, UIDOf("robot")),
		`{}`, `[]`,
	} {
		f.Add([]byte(doc), true)
		f.Add([]byte(doc), false)
		f.Add(SignPacket(key, []byte(doc)), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign {
			b = SignPacket(key, b)
		}
		text := Armor(b)
		_, team := OpenTeamEK(text)
		_, bot := OpenBotKey(text, false)
		_, ephemeral := OpenBotKey(text, true)
		taken := 0
		for _, err := range []error{team, bot, ephemeral} {
			if err == nil {
				taken++
			}
		}
		sig, err := OpenSignature(text)
		if taken > 1 || taken > 0 && (err != nil || sig.Verify() != nil) {
			t.Fatalf("taken %d times, signature %v: %q", taken, err, b)
		}
	})
}

// FuzzTeamNames proves that a name of a team is written in one way, in lower case, that
// its parts, parent and root are names too, and that a member is written as it is read.
func FuzzTeamNames(f *testing.F) {
	for _, s := range []string{
		"acme", "acme.dev", "Acme", "a_b", "a__b", "_ab", "a", "ab.", ".ab", "ab..cd", strings.Repeat("ab.", 20) + "ab",
		"__keybase_implicit_team__" + strings.Repeat("0a", 16), "__keybase_implicit_team__", strings.Repeat("a", 17),
		UIDOf("alice").String() + "%1", UIDOf("alice").String() + "%01", UIDOf("alice").String(), UIDOf("alice").String() + "%-1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if uv, err := ParseUserVersion(s); err == nil {
			if again, err := ParseUserVersion(uv.String()); err != nil || again != uv {
				t.Fatalf("%q is %s is %s: %v", s, uv, again, err)
			}
		}
		n, err := ParseTeamName(s)
		if err != nil {
			return
		}
		if again, err := ParseTeamName(n.String()); err != nil || again != n || strings.ToLower(s) != n.String() {
			t.Fatalf("%q is written %q and read as %q: %v", s, n, again, err)
		}
		if r, err := ParseTeamName(n.Root().String()); err != nil || r.Depth() != 0 || len(n.Parts()) != n.Depth()+1 {
			t.Fatalf("root %q of %q: %v", n.Root(), n, err)
		}
		if id := TeamIDOf(n.Root(), false); id.Public() || id.Subteam() || !TeamIDOf(n.Root(), true).Public() {
			t.Fatalf("id %s of %q", id, n)
		}
	})
}
