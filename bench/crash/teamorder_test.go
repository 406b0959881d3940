package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"testing"
)

// TestLinksDoNotMove proves what is made of a link that first stood in one root, given
// what that root and the one before it say later.
func TestLinksDoNotMove(t *testing.T) {
	end := func(id string) chainEnd {
		if id == "" {
			return chainEnd{}
		}
		return chainEnd{int64(id[0]-'a') + 1, id}
	}
	for name, tc := range map[string]struct {
		before, there string // the last links; a is the first link, b the second
		want          map[kind]int
	}{
		"as it was":           {"a", "b", nil},
		"others with it":      {"a", "c", nil},
		"the first of all":    {"", "b", nil},
		"in a later root":     {"a", "a", map[kind]int{reordered: 1}},
		"in an earlier root":  {"b", "b", map[kind]int{reordered: 1}},
		"gone with its chain": {"", "", map[kind]int{reordered: 1}},
		"under another hash":  {"a", "bx", map[kind]int{forked: 1}},
		"after another":       {"ax", "b", map[kind]int{forked: 1}},
	} {
		for _, hidden := range []bool{false, true} {
			b := newBook("")
			prefix := ""
			if hidden {
				prefix = "h"
			}
			for i, l := range []string{"p1a", "p2b", "p3c"} {
				b.settleTeams(teamPost{wasAcked, prefix + l}.attempt(int64(i+1)), line{What: wasAcked, User: "alice"})
			}
			f := b.teams["p"].posts[1].facts.Team[0]
			b.teams["p"].at(f).root = 7
			j := newJudge(io.Discard, 1, "")
			(&checker{judge: j}).moved(b.teams["p"], f, end(tc.before), end(tc.there))
			if fmt.Sprint(j.counts) != fmt.Sprint(tc.want) {
				t.Errorf("%s, hidden %t: %v, want %v", name, hidden, j.counts, tc.want)
			}
		}
	}
}

// pathTo is an answer about team t in a root; value is that of the blind tree.
func pathTo(root int64, leaf string, value []byte) []byte {
	proof := ""
	if value != nil {
		proof = base64.StdEncoding.EncodeToString(append([]byte{0x92, 0xc4, byte(len(value))}, value...))
	}
	node, _ := json.Marshal(fmt.Sprintf(`{"tab":{"t":%s,"other":[1]},"type":2}`, leaf))
	return fmt.Appendf(nil, `{"root":{"seqno":%d},"path":[{"node":{"val":"{}"}},{"node":{"val":%s}}],"enc_value_with_proof":%q}`, root, node, proof)
}

// TestTheWitnessRemembersTeams proves that two answers about a team in one root must say
// the same of both chains, whoever got them, unless one says nothing of the hidden one.
func TestTheWitnessRemembersTeams(t *testing.T) {
	one, two := []byte("a tail"), []byte("b tail")
	for name, tc := range map[string]struct {
		answers [][]byte
		want    int
	}{
		"the same":               {[][]byte{pathTo(5, "[2,1]", one), pathTo(5, "[2,1]", one)}, 0},
		"another root":           {[][]byte{pathTo(5, "[2,1]", one), pathTo(6, "[2,2]", two)}, 0},
		"another leaf":           {[][]byte{pathTo(5, "[2,1]", one), pathTo(5, "[2,2]", one)}, 1},
		"another leaf at last":   {[][]byte{pathTo(5, "[2,1]", one), pathTo(6, "[2,2]", one), pathTo(5, "[2,2]", one)}, 1},
		"another hidden tail":    {[][]byte{pathTo(5, "[2,1]", one), pathTo(5, "[2,1]", two)}, 1},
		"silent between":         {[][]byte{pathTo(5, "[2,1]", one), pathTo(5, "[2,1]", nil), pathTo(5, "[2,1]", two)}, 1},
		"a refusal":              {[][]byte{pathTo(5, "[2,1]", one), []byte(`{"status":{"code":205}}`)}, 0},
		"a node that is no node": {[][]byte{[]byte(`{"root":{"seqno":5},"path":[{"node":{"val":"["}}]}`)}, 1},
	} {
		n := 0
		w := newWitness(io.Discard, func(kind, string, ...any) { n++ })
		for _, a := range tc.answers {
			w.wire("merkle/path", 0, "t", a)
		}
		if n != tc.want {
			t.Errorf("%s: %d found, want %d", name, n, tc.want)
		}
	}
}
