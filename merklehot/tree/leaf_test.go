package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/keystead/keystead/compat/kbsig"
)

func drawTriple(t *rapid.T) (tr Triple) {
	tr.Seqno = kbsig.Seqno(rapid.Int64Range(0, 1<<50).Draw(t, "seqno"))
	if tr.Seqno != 0 {
		copy(tr.Link[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "link"))
		copy(tr.Sig[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sig"))
	}
	return tr
}

// Every leaf encodes to JSON that parses back to it.
func TestLeafRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Value{Public: drawTriple(t), Private: drawTriple(t)}
		if rapid.Bool().Draw(t, "eldest") {
			l.Eldest = kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{rapid.Byte().Draw(t, "key")})
		}
		if rapid.Bool().Draw(t, "reset") {
			l.Reset = ResetTail{kbsig.Seqno(rapid.Int64Range(1, 99).Draw(t, "resets")), [64]byte{7}}
		}
		b := l.Encode()
		if !json.Valid(b) {
			t.Fatalf("not JSON: %s", b)
		}
		if got, err := ParseLeaf(b); err != nil || got != l {
			t.Fatalf("%s parsed to %+v, %v", b, got, err)
		}
	})
}

// The leaf forms that clients read, letter by letter.
func TestLeafForms(t *testing.T) {
	one := Triple{3, kbsig.LinkID{1}, kbsig.SigIDBase{2}}
	const triple = `[3,"0100000000000000000000000000000000000000000000000000000000000000","0200000000000000000000000000000000000000000000000000000000000000"]`
	for _, c := range []struct {
		leaf Leaf
		want string
	}{
		{UserLeaf{}, `[2,[],[],null]`},
		{UserLeaf{one.Seqno, one.Link, one.Sig, kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte{3}), ResetTail{}},
			`[2,` + triple + `,[],"012003000000000000000000000000000000000000000000000000000000000000000a"]`},
		{TeamLeaf{Private: one}, `[2,[],` + triple + `,null]`},
	} {
		if got := string(c.leaf.Encode()); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// What parses is exactly what Encode writes, whatever the bytes.
func FuzzParseLeaf(f *testing.F) {
	f.Add([]byte(`[2,[],[],null]`))
	f.Add(Value{Public: Triple{1, kbsig.LinkID{1}, kbsig.SigIDBase{2}}, Reset: ResetTail{2, [64]byte{3}}}.Encode())
	f.Add(TeamLeaf{Private: Triple{9, kbsig.LinkID{1}, kbsig.SigIDBase{2}}}.Encode())
	f.Add([]byte(`[2,[01,"",""],[],null]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLeaf(b)
		if err != nil {
			if !errors.Is(err, ErrBadLeaf) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if got := l.Encode(); !bytes.Equal(got, b) {
			t.Fatalf("%s parsed, encodes to %s", b, got)
		}
	})
}

// Records of nodes that were tampered with are refused or harmless, never a crash.
func FuzzDecodeNode(f *testing.F) {
	f.Add([]byte{recordFull})
	f.Add(append([]byte{recordDelta, childDeep | 3}, make([]byte, 64)...))
	f.Add(append([]byte{recordFull, childLeaf | 15, 2}, make([]byte, 32)...))
	f.Fuzz(func(t *testing.T, v []byte) {
		n := new(pastNode[kbsig.NodeHash])
		var ids [16][]ID
		if _, err := decodeNode(v, n, &ids); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("another error: %v", err)
		}
	})
}
