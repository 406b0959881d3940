package joining

import (
	"errors"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/implicit"
	"github.com/keystead/keystead/merklehot/teamchain"
)

// recall notes how an implicit team is called after a change.
func (s *Service) recall(tx *store.Tx, st *teamchain.State, fresh bool) error {
	name, coming, err := namesOf(tx, st)
	if err != nil {
		return err
	}
	if fresh {
		return implicit.Make(tx, st.ID(), name, coming)
	}
	_, err = implicit.CalledOf(tx, st.ID())
	if errors.Is(err, implicit.ErrNone) {
		return nil // nobody was left in it once
	}
	if err != nil {
		return err
	}
	return implicit.Call(tx, st.ID(), name, coming)
}

// namesOf is how an implicit team is called by its members and invites, and how it will be
// called when those invites are completed of which the server can say by whom.
// client: go/teams/teams.go:Team.implicitTeamDisplayName
func namesOf(r store.Reader, st *teamchain.State) (name, coming implicit.Name, err error) {
	name.Public, coming.Public = st.Public(), st.Public()
	add := func(n *implicit.Name, role teamchain.Role, p implicit.Person) {
		switch role {
		case teamchain.RoleOwner:
			n.Writers = append(n.Writers, p)
		case teamchain.RoleReader:
			n.Readers = append(n.Readers, p)
		}
	}
	user := func(u kbsig.UID) (implicit.Person, error) {
		acct, err := accounts.Get(r, u)
		if err != nil {
			return implicit.Person{}, err
		}
		return implicit.Person{User: acct.Name}, nil
	}
	seen := map[kbsig.UID]bool{}
	err = st.Members(func(uv kbsig.UserVersion, role teamchain.Role) error {
		p, err := user(uv.UID)
		if err != nil {
			return err
		}
		if role == teamchain.RoleOwner || role == teamchain.RoleReader {
			seen[uv.UID] = true
		}
		add(&name, role, p)
		add(&coming, role, p)
		return nil
	})
	if err != nil {
		return name, coming, err
	}
	found := map[kbsig.InviteID]kbsig.UID{}
	err = Acceptances(r, st.ID(), func(u kbsig.UID, id kbsig.InviteID, a Acceptance) error {
		if a.Kind == Named {
			found[id] = u
		}
		return nil
	})
	if err != nil {
		return name, coming, err
	}
	err = st.ActiveInvites(func(st teamchain.InviteState) error {
		i := st.Invite
		if i.Type == typeKeybase {
			uv, err := kbsig.ParseUserVersion(i.Name)
			if err != nil || seen[uv.UID] {
				return nil
			}
			seen[uv.UID] = true
			p, err := user(uv.UID)
			if err != nil {
				return err
			}
			add(&name, i.Role, p)
			add(&coming, i.Role, p)
			return nil
		}
		p := implicit.Person{Service: strings.ToLower(i.Type), Name: strings.ToLower(i.Name)}
		add(&name, i.Role, p)
		if u, ok := found[i.ID]; ok {
			if p, err = user(u); err != nil {
				return err
			}
		}
		add(&coming, i.Role, p)
		return nil
	})
	return name.Normal(), coming.Normal(), err
}
