package client

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"slices"
)

// blindTree is one version of the world's blind tree.
type blindTree struct {
	version int64
	leaves  []blindLeaf // by id
}

type blindLeaf struct {
	team  TeamID
	value []byte
}

// blindTree commits to the ends of all hidden chains; nil before there is one.
func (w *world) blindTree() *blindTree {
	t := &blindTree{version: int64(len(w.roots) + 1)}
	for id, team := range w.teams {
		if n := len(team.hidden); n > 0 {
			tail := HiddenTail{Seqno(n), hiddenID(team.hidden[n-1])}
			t.leaves = append(t.leaves, blindLeaf{id, append([]byte{blindValueTeam, 0x91, 0x81, hiddenSeqType}, tail.pack(hiddenSeqType)...)})
		}
	}
	slices.SortFunc(t.leaves, func(a, b blindLeaf) int { return bytes.Compare(a.team[:], b.team[:]) })
	if len(t.leaves) == 0 {
		return nil
	}
	return t
}

// hiddenID is the id of a hidden link as it is served.
func hiddenID(link any) LinkID {
	outer, err := unbase64(link.(map[string]any)["o"].(string))
	if err != nil {
		panic(err)
	}
	return sha256.Sum256(outer)
}

func (l blindLeaf) secret() []byte {
	h := sha256.Sum256(append(l.team[:], "is what blinds it"...))
	return h[:]
}

func (l blindLeaf) sum() []byte {
	m := hmac.New(sha512.New512_256, l.secret())
	m.Write(l.value)
	return m.Sum(nil)
}

func bitOf(t TeamID, i int) int { return int(t[i/8] >> (7 - i%8) & 1) }

// node is the hash of the part of the tree where all ids begin with the same bits.
func (t *blindTree) node(leaves []blindLeaf, depth int) []byte {
	var w packer
	switch len(leaves) {
	case 0:
		return nil
	case 1:
		w.int(2)
		w.array(1)
		w.array(2)
		w.bin(leaves[0].team[:])
		w.bin(leaves[0].sum())
	default:
		l, r := split(leaves, depth)
		w.int(1)
		w.array(2)
		w.binOrNull(t.node(l, depth+1))
		w.binOrNull(t.node(r, depth+1))
	}
	return blindSum(w)
}

func split(leaves []blindLeaf, depth int) (l, r []blindLeaf) {
	for _, x := range leaves {
		if bitOf(x.team, depth) == 0 {
			l = append(l, x)
		} else {
			r = append(r, x)
		}
	}
	return l, r
}

func (t *blindTree) meta(node []byte) []byte {
	var w packer
	w.array(6)
	w.int(1)
	w.int(1)
	w.int(t.version)
	w.binOrNull(node)
	w.null()
	w.null()
	return w
}

// hash is what a root names.
func (t *blindTree) hash() string {
	if t == nil {
		return ""
	}
	return hex.EncodeToString(blindSum(t.meta(t.node(t.leaves, 0))))
}

// proof says what the version holds of a team.
func (t *blindTree) proof(team TeamID) string {
	at, depth := t.leaves, 0
	var siblings [][]byte
	for ; len(at) > 1; depth++ {
		l, r := split(at, depth)
		if bitOf(team, depth) == 1 {
			l, r = r, l
		}
		siblings = append([][]byte{t.node(r, depth+1)}, siblings...)
		at = l
	}
	here := len(at) == 1 && at[0].team == team
	var w packer
	w.array(2)
	if here {
		w.bin(at[0].value)
	} else {
		w.null()
	}
	w.array(4)
	switch {
	case here:
		w.bin(at[0].secret())
		w.array(0)
	case len(at) == 1:
		w.null()
		w.array(1)
		w.array(2)
		w.bin(at[0].team[:])
		w.bin(at[0].sum())
	default:
		w.null()
		w.null()
	}
	w.array(len(siblings))
	for _, s := range siblings {
		w.binOrNull(s)
	}
	w = append(w, t.meta(nil)...)
	return b64(w)
}

// joinBlindings serves what was posted with several links; together they are few.
func joinBlindings(posted []string) any {
	if len(posted) == 0 {
		return nil
	}
	out := []byte{0x90}
	for _, s := range posted {
		b, err := unbase64(s)
		if err != nil || len(b) == 0 {
			panic("blinding keys that are none")
		}
		out[0] += b[0] & 0x0f
		out = append(out, b[1:]...)
	}
	return b64(out)
}
