package joining

import (
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/teams"
)

// Details are what anybody is told who holds a link that invites.
type Details struct {
	Team    kbsig.TeamID
	Name    kbsig.TeamName
	Open    bool
	Members int
	Inviter kbsig.UID
	// InviterGone says that the inviter was reset or deleted since.
	InviterGone bool
}

// DetailsOf tells of a link that invites and can be used now; the error is ErrNoInvite of
// any other.
// client: go/teams/seitan_invitelink.go:GetInviteLinkDetails
func DetailsOf(r store.Reader, id kbsig.InviteID, now time.Time) (Details, error) {
	t, st, invite, err := findInvite(r, id, now)
	if err != nil {
		return Details{}, err
	}
	if invite.Type != typeLink {
		return Details{}, ErrNoInvite
	}
	made, err := store.Load[madeBy](r, keys.InviteLead(byID(id), t, id))
	if err != nil {
		return Details{}, err
	}
	d := Details{Team: t, Members: st.MemberCount(), Inviter: made.Inviter.UID}
	_, d.Open = st.Open()
	if d.Name, err = teams.FullName(r, t); err != nil {
		return d, err
	}
	eldest, _, err := present(r, made.Inviter.UID)
	d.InviterGone = eldest != made.Inviter.Eldest
	return d, err
}
