package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/keystead/keystead/bench/client"
)

// teamSighting names an answer about a team in a root.
type teamSighting struct {
	team string
	root int64
}

// teamSight is what such an answer said. What a root says of a team is the same for ever.
type teamSight struct {
	leaf   string // of the tree, as it stands in the node; empty: none
	hidden string // of the blind tree, in hex; empty: none, or nothing was said
}

// teamReply is merkle/path about a team, as far as the witness reads it.
type teamReply struct {
	Root *struct {
		Seqno int64 `json:"seqno"`
	} `json:"root"`
	Path []struct {
		Node struct {
			Val string `json:"val"`
		} `json:"node"`
	} `json:"path"`
	Proof string `json:"enc_value_with_proof"`
}

// sees takes note of what an answer says of a team, and compares it with all others about
// the same root and about those around it. The caller holds mu.
func (w *witness) sees(team string, body []byte) {
	var r teamReply
	if json.Unmarshal(body, &r) != nil || r.Root == nil || len(r.Path) == 0 {
		return
	}
	var node struct {
		Tab map[string]json.RawMessage `json:"tab"`
	}
	if err := json.Unmarshal([]byte(r.Path[len(r.Path)-1].Node.Val), &node); err != nil {
		w.found(forked, "the path to team %s in root %d does not read: %v", team, r.Root.Seqno, err)
		return
	}
	now := teamSight{leaf: string(node.Tab[team]), hidden: blindValue(r.Proof)}
	at := teamSighting{team, r.Root.Seqno}
	old, known := w.teams[at]
	switch {
	case known && old.leaf != now.leaf:
		w.found(forked, "root %d says of team %s %q, it said %q", at.root, team, now.leaf, old.leaf)
	case known && old.hidden != "" && now.hidden != "" && old.hidden != now.hidden:
		w.found(forked, "root %d says of the hidden chain of team %s %s, it said %s", at.root, team, now.hidden, old.hidden)
	case known && old.hidden != "":
		now = old
	}
	w.teams[at] = now
}

// blindValue is the value in a proof of the blind tree, which is a pair of both: in hex.
// client: go/merkletree2/interfaces.go:GetValueWithProofResponse
func blindValue(proof string) string {
	raw, err := base64.StdEncoding.DecodeString(proof)
	value, isPair := bytes.CutPrefix(raw, []byte{0x92, 0xc4})
	if err != nil || !isPair || len(value) < 1 || len(value) <= int(value[0]) {
		return ""
	}
	return hex.EncodeToString(value[1 : 1+int(value[0])])
}

// teamSightings lists all answers about teams that were seen. Some ask for users by the id
// of their leaf; what was said of these is compared, and not asked for again.
func (w *witness) teamSightings() []teamSighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]teamSighting, 0, len(w.teams))
	for s := range w.teams {
		if _, err := client.ParseTeamID(s.team); err == nil {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b teamSighting) int {
		return cmp.Or(cmp.Compare(a.root, b.root), cmp.Compare(a.team, b.team))
	})
	return out
}
