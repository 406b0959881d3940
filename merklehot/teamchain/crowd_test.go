package teamchain

import (
	"fmt"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
)

// TestCrowd proves that one link may add as many members as a link may name, that its
// record is read again, and that one more is refused.
func TestCrowd(t *testing.T) {
	h := &hand{world: newWorld(3, 1), tag: "x"}
	if err := h.post(h.create()...); err != nil {
		t.Fatal(err)
	}
	team := h.roots[0]
	by, admin := h.admin(team, RoleOwner)
	add := func(n int) *draft {
		var list []any
		for i := range n {
			list = append(list, kbsig.UserVersion{UID: kbsig.UIDOf(kbsig.Username(fmt.Sprintf("crowd%d", i))), Eldest: 1}.String())
		}
		return h.draft(by, team, "team.change_membership", 0, obj{"admin": admin, "members": obj{"writer": list}})
	}
	if _, err := Parse(add(membersMax + 1).sign()); KindOf(err) != KindInput {
		t.Errorf("one more than may be: %v", err)
	}
	if err := h.post(add(membersMax)); err != nil {
		t.Fatal(err)
	}
	st, err := h.Team(team)
	if err != nil || st.MemberCount() != membersMax+1 {
		t.Fatalf("%d members, want %d (%v)", st.MemberCount(), membersMax+1, err)
	}
	records := h.teams[team].records
	rec, err := DecodeRecord(records[len(records)-1].Encode())
	if err != nil {
		t.Fatal(err)
	}
	l, err := rec.Link()
	if err != nil || len(l.Members) != membersMax {
		t.Fatalf("read again with %d members: %v", len(l.Members), err)
	}
}
