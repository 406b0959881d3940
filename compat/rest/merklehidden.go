package rest

import (
	"encoding/base64"
	"encoding/hex"
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/teams"
	"github.com/keystead/keystead/merklehot/tree"
)

// hiddenJSON is what merkle/path says about the hidden chain of a team, in the root that
// its path belongs to. client: go/teams/hidden/hidden.go:ProcessHiddenResponseFunc
type hiddenJSON struct {
	EncValueWithProof string       `json:"enc_value_with_proof,omitempty"`
	LastHiddenSeqno   *kbsig.Seqno `json:"last_hidden_seqno,omitempty"`
	LastBlindRootHash string       `json:"last_blind_root_hash,omitempty"` // if the root carries none
}

// isTeam tells ids of teams from those of users.
func isTeam(id *tree.ID) bool {
	_, err := kbsig.ParseTeamID(id.String())
	return err == nil
}

// supportsHidden: GET team/supports_hidden_chain. Every private team may rotate its key
// in a hidden chain, so the answer tells nothing about who exists; public ones rotate
// in the visible chain alone. client: go/teams/hidden/hidden.go:featureGateForTeamFromServer
func supportsHidden(c *call) (any, error) {
	team, err := parsed(c, "id", kbsig.ParseTeamID)
	if err != nil {
		return nil, err
	}
	return struct {
		Support bool `json:"support"`
	}{!team.Public()}, nil
}

// addHidden adds what root at proves about a team's hidden chain. Clients take the
// absence of a team that never was, too.
//
// Who reads a team only from a team below gets no more of its hidden chain than what
// visible links commit to, so must not hear how long it is: clients that load fast ask for
// none of it. client: go/teams/hidden_loader_test.go:TestSubteamReaderFTL
func (c *call) addHidden(out *hiddenJSON, team tree.ID, at kbsig.Seqno) error {
	if from, err := c.onlyFromBelow(kbsig.TeamID(team)); err != nil || from {
		return err
	}
	p, err := c.roots().BlindProof(c.view(), team, at)
	if err != nil {
		return err
	}
	newest, err := hidden.Load(c.view(), kbsig.TeamID(team))
	if err != nil {
		return err
	}
	last := newest.Tail().Seqno
	out.EncValueWithProof, out.LastHiddenSeqno = base64.StdEncoding.EncodeToString(p.Proof), &last
	if !p.InRoot {
		out.LastBlindRootHash = hex.EncodeToString(p.Hash[:])
	}
	return nil
}

// onlyFromBelow reports a caller who is nothing in a team but is in one below it.
func (c *call) onlyFromBelow(t kbsig.TeamID) (bool, error) {
	if c.who == nil {
		return false, nil
	}
	s, err := teams.StandingOf(c.view(), t, c.who.UID)
	if errors.Is(err, teams.ErrNoTeam) || err == nil && s.Any() {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return c.knowsByBranch(t)
}
