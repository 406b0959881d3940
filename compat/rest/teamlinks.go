package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/hidden"
	"github.com/keystead/keystead/merklehot/keyboxes"
	"github.com/keystead/keystead/merklehot/teamchain"
	"github.com/keystead/keystead/merklehot/teams"
)

// teamGetter makes one answer of team/get.
type teamGetter struct {
	c        *call
	a        teams.Access
	st       *teamchain.State
	q        teamQuestion
	newest   int64 // generation of the team's key, in both chains
	branches map[kbsig.TeamID]bool
	ratchets []kbsig.Ratchet // of the links that are shown whole
	out      teamJSON
}

func (g *teamGetter) answer() (any, error) {
	full, err := teams.FullName(g.c.view(), g.a.Team)
	if err != nil {
		return nil, err
	}
	h, err := hidden.Load(g.c.view(), g.a.Team)
	if err != nil {
		return nil, err
	}
	g.newest = max(g.st.PTK().Generation, h.PTK().Generation)
	g.out = teamJSON{
		ID: g.a.Team.String(), Name: teamNameJSON{full.Parts()}, SubteamReader: g.a.Below,
		Chain: []teamchain.WireLink{}, Prevs: map[string]string{}, Masks: []maskJSON{},
		LegacyTLF: []legacyTLFJSON{}, Hidden: []hidden.WireLink{},
	}
	for _, step := range []func() error{g.links, g.box, g.masks, g.hidden, g.blindings, g.legacy} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("answer for team %s: %w", g.a.Team, err)
		}
	}
	return g.out, nil
}

// links collects the visible chain.
func (g *teamGetter) links() error {
	if g.q.fill {
		return g.listed(0)
	}
	extra, err := g.keyLinks()
	if err != nil {
		return err
	}
	for n := range extra {
		g.q.listed[n] = true
	}
	if err := g.listed(g.q.low); err != nil {
		return err
	}
	newest, err := g.newestWhole()
	if err != nil {
		return err
	}
	return teams.Records(g.c.view(), g.a.Team, g.q.low, func(n kbsig.Seqno, rec teamchain.Record) error {
		return g.show(rec, g.q.listed[n] || newest[n])
	})
}

// listed shows the links that are named, up to a number; 0: all of them.
func (g *teamGetter) listed(upTo kbsig.Seqno) error {
	tail, _, _ := g.st.Tail()
	for _, n := range slices.Sorted(maps.Keys(g.q.listed)) {
		if n > tail || upTo == 0 && !g.q.fill || upTo > 0 && n > upTo {
			continue
		}
		rec, err := teams.Record(g.c.view(), g.a.Team, n)
		if err != nil {
			return err
		}
		if err := g.show(rec, true); err != nil {
			return err
		}
	}
	return nil
}

// keyLinks are the links that brought the generations which a fast load is about: it
// reads the public keys there. client: go/teams/ftl.go:readPerTeamKey
func (g *teamGetter) keyLinks() (map[kbsig.Seqno]bool, error) {
	out := make(map[kbsig.Seqno]bool)
	if !g.q.fast {
		return out, nil
	}
	for n := range g.generations() {
		ptk, ok, err := g.st.PTKAt(n)
		if err != nil {
			return nil, err
		}
		if ok {
			out[ptk.Seqno] = true
		}
	}
	return out, nil
}

// generations are those that a fast load is about.
func (g *teamGetter) generations() map[int64]bool {
	out := maps.Clone(g.q.wanted)
	for n := max(g.newest-g.q.newest+1, 1); n <= g.newest; n++ {
		out[n] = true
	}
	return out
}

// newestWhole are the links of a fast load that must not be stubs: the newest rotation
// and the newest of those that point up. client: go/teams/ftl.go:FastTeamChainLoader.checkStubs
func (g *teamGetter) newestWhole() (map[kbsig.Seqno]bool, error) {
	if !g.q.fast {
		return nil, nil
	}
	var rotation, up kbsig.Seqno
	err := teams.Records(g.c.view(), g.a.Team, g.q.low, func(n kbsig.Seqno, rec teamchain.Record) error {
		outer, _, err := rec.Outer()
		if err != nil {
			return err
		}
		switch outer.Type {
		case kbsig.LinkTeamRotateKey:
			rotation = n
		case kbsig.LinkTeamRenameUpPointer, kbsig.LinkTeamDeleteUpPointer:
			up = n
		}
		return nil
	})
	ptk := g.st.PTK().Seqno
	return map[kbsig.Seqno]bool{rotation: true, up: true, ptk: true}, err
}

// show adds a link to the answer, whole or as a stub. named: the caller wants it whole.
func (g *teamGetter) show(rec teamchain.Record, named bool) error {
	outer, _, err := rec.Outer()
	if err != nil {
		return err
	}
	stub, err := g.stubbed(rec, outer, named)
	if err != nil {
		return err
	}
	w, err := rec.Entry(stub)
	if err != nil {
		return err
	}
	g.out.Chain = append(g.out.Chain, w)
	if w.PayloadJSON == "" {
		return nil
	}
	return g.collectRatchets(rec.Inner)
}

// stubbed decides about one link. Names of subteams and invitations are for admins; who
// is in a subteam sees the links about its own branch, which clients need whole.
// client: go/libkb/chain_link_v2.go:TeamAllowStubWithAdminFlag, go/teams/loader2.go:TeamLoader.checkStubbed
func (g *teamGetter) stubbed(rec teamchain.Record, outer *kbsig.TeamOuter, named bool) (bool, error) {
	if g.q.fast && !named {
		return true, nil
	}
	if g.a.Whole() {
		return false, nil
	}
	switch outer.Type {
	case kbsig.LinkTeamInvite:
		return true, nil
	case kbsig.LinkTeamNewSubteam, kbsig.LinkTeamRenameSubteam, kbsig.LinkTeamDeleteSubteam:
		own, err := g.ownBranch(rec)
		return !own, err
	}
	return false, nil
}

// ownBranch reports a link about a subteam that the caller is in, or that lies above one.
func (g *teamGetter) ownBranch(rec teamchain.Record) (bool, error) {
	if g.c.who == nil {
		return false, nil
	}
	var l struct {
		Body struct {
			Team struct {
				Subteam struct {
					ID string `json:"id"`
				} `json:"subteam"`
			} `json:"team"`
		} `json:"body"`
	}
	if err := json.Unmarshal(rec.Inner, &l); err != nil {
		return false, err
	}
	id, err := kbsig.ParseTeamID(l.Body.Team.Subteam.ID)
	if err != nil {
		return false, err
	}
	if g.branches == nil {
		if g.branches, err = teams.Branches(g.c.view(), g.c.who.UID); err != nil {
			return false, err
		}
	}
	return g.branches[id], nil
}

func (g *teamGetter) collectRatchets(inner []byte) error {
	if !bytes.Contains(inner, []byte(`"ratchets"`)) {
		return nil
	}
	var l struct {
		Body struct {
			Team struct {
				Ratchets []string `json:"ratchets"`
			} `json:"team"`
		} `json:"body"`
	}
	if err := json.Unmarshal(inner, &l); err != nil {
		return err
	}
	for _, h := range l.Body.Team.Ratchets {
		r, err := kbsig.ParseHashMeta(h) // 32 bytes in hex, too
		if err != nil {
			return err
		}
		g.ratchets = append(g.ratchets, kbsig.Ratchet(r))
	}
	return nil
}

// box adds the newest box of the team's key, and the sealed seeds before it.
// client: go/teams/loader2.go:unboxPerTeamSecrets
func (g *teamGetter) box() error {
	if !g.a.Keys() || !g.q.wantsKey {
		return nil
	}
	b, err := keyboxes.TeamBoxOf(g.c.view(), g.a.Team, g.a.UV.UID, g.a.UV.Eldest)
	if err != nil || b == nil {
		return err
	}
	g.out.Box = &boxJSON{b.Nonce[:], b.Sender.String(), b.Generation, b.Sealed, b.PUKSeqno}
	return keyboxes.TeamPrevs(g.c.view(), g.a.Team, g.q.keyLow, func(generation int64, sealed string) error {
		if generation <= b.Generation {
			g.out.Prevs[strconv.FormatInt(generation, 10)] = sealed
		}
		return nil
	})
}

// masks adds the server's half of the application keys: for a whole load those of all
// generations from the newest that the caller has, for a fast one those that it names.
// client: go/teams/loader2.go:TeamLoader.checkReaderKeyMaskCoverage, go/teams/ftl.go:FastTeamChainLoader.putRKMs
func (g *teamGetter) masks() error {
	if !g.a.Masks() || g.q.fill || g.q.fast && len(g.q.applied) == 0 {
		return nil
	}
	wanted := map[int64]bool(nil)
	from := g.q.keyLow - 1
	if g.q.fast {
		wanted, from = g.generations(), 0
	}
	return keyboxes.EachTeamMasks(g.c.view(), g.a.Team, from, func(generation int64, m keyboxes.TeamMasks) error {
		if wanted != nil && !wanted[generation] {
			return nil
		}
		for app := 1; app <= keyboxes.TeamApplications; app++ {
			if mask, ok := m.Mask(app); ok && (!g.q.fast || g.q.applied[app]) {
				g.out.Masks = append(g.out.Masks, maskJSON{app, generation, mask[:]})
			}
		}
		return nil
	})
}

// hidden adds the hidden chain, because visible links commit to it: whole for those who
// may know of the keys. Who reads the team only from a team below gets stubs, and so does
// a restricted bot that loads fast: there clients compare keys with secrets that it lacks.
// client: go/teams/hidden/loader.go:LoaderPackage.Update, go/teams/ftl.go:FastTeamChainLoader.processHidden
func (g *teamGetter) hidden() error {
	if !g.q.hidden || !g.a.Hidden() && !g.a.Below {
		return nil
	}
	stub := !g.a.Hidden() || g.q.fast && !g.a.Keys()
	return hidden.Links(g.c.view(), g.a.Team, g.q.hideLow, func(_ kbsig.Seqno, rec hidden.Record) error {
		g.out.Hidden = append(g.out.Hidden, rec.Entry(stub))
		return nil
	})
}

// blindings adds what explains the ratchets of the links that were shown.
// client: go/teams/hidden/ratchet.go:RatchetBlindingKeySet.UnmarshalJSON
func (g *teamGetter) blindings() error {
	if len(g.ratchets) == 0 {
		return nil
	}
	list, err := hidden.Blindings(g.c.view(), g.a.Team, g.ratchets)
	if err != nil {
		return err
	}
	text := kbsig.EncodeBlindings(list)
	g.out.Blindings = &text
	return nil
}

// legacy adds the old keys of folders, the newest of each application, to whoever can open
// them. Clients forget those that an answer leaves out.
// client: go/teams/loader2.go:TeamLoader.addKBFSCryptKeys
func (g *teamGetter) legacy() error {
	if !g.a.Masks() || g.q.fast || g.q.fill {
		return nil
	}
	list, err := teams.LegacyTLFs(g.c.view(), g.a.Team)
	if err != nil {
		return err
	}
	newest := make(map[int]teams.LegacyTLF)
	for _, l := range list {
		newest[l.AppType] = l
	}
	for _, app := range slices.Sorted(maps.Keys(newest)) {
		l := newest[app]
		g.out.LegacyTLF = append(g.out.LegacyTLF, legacyTLFJSON{l.EncryptedKeyset, l.TeamGeneration, l.LegacyGeneration, l.AppType})
	}
	return nil
}
