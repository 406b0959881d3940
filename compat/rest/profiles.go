package rest

import (
	"errors"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/directory"
	"github.com/keystead/keystead/merklehot/home"
	"github.com/keystead/keystead/merklehot/identity"
)

// fault turns what is wrong with an argument into an answer.
func fault(err error) error {
	var f people.Fault
	if errors.As(err, &f) {
		return status.Input("%s", f)
	}
	return err
}

// profileEdit: POST profile-edit. All three are sent each time; an empty one clears.
// client: go/engine/profile_edit.go:ProfileEdit.Run
func profileEdit(c *call) (any, error) {
	for _, name := range []string{"full_name", "location", "bio"} {
		if !c.form.Has(name) && !c.http.QueryArgs().Has(name) {
			return nil, status.InputField(name, "the argument "+name+" is missing; an empty one clears it")
		}
	}
	p := people.Profile{FullName: c.raw("full_name"), Location: c.raw("location"), Bio: c.raw("bio")}
	return none{}, c.update(func(tx *store.Tx) error {
		changed, err := people.SetProfile(tx, c.who.UID, p)
		if err != nil || !changed {
			return fault(err)
		}
		if err := home.Refresh(tx, c.who.UID); err != nil {
			return err
		}
		return tellIdentity(tx, c.who.UID)
	})
}

// tellIdentity has a user's other devices look at the user again.
// client: go/service/user_handler.go:userHandler.Create
func tellIdentity(tx *store.Tx, u kbsig.UID) error {
	return events.Add(tx, events.News{To: u, Category: "user.identity_change", Body: []byte("{}"), Replace: true})
}

// userCard: GET user/card. What is blocked is told to who blocked it, nobody else.
// client: go/libkb/user_card.go:UserCard
func userCard(c *call) (any, error) {
	acct, err := c.account()
	if err != nil {
		return nil, err
	}
	following, err := c.followCount(acct.UID, true)
	if err != nil {
		return nil, err
	}
	followers, err := c.followCount(acct.UID, false)
	if err != nil {
		return nil, err
	}
	var mine people.Block
	if c.who != nil {
		if mine, err = people.BlockOf(c.view(), c.who.UID, acct.UID); err != nil {
			return nil, err
		}
	}
	shown, err := c.promotedTeams(acct.UID)
	if err != nil {
		return nil, err
	}
	type summary struct {
		Following int `json:"following"`
		Followers int `json:"followers"`
	}
	type profile struct {
		FullName string `json:"full_name"`
		Location string `json:"location"`
		Bio      string `json:"bio"`
		Website  string `json:"website"`
		Twitter  string `json:"twitter"`
	}
	type blocks struct {
		Chat   bool `json:"chat"`
		Follow bool `json:"follow"`
	}
	return struct {
		FollowSummary summary        `json:"follow_summary"`
		Profile       profile        `json:"profile"`
		TeamShowcase  []promotedJSON `json:"team_showcase"`
		Airdrop       bool           `json:"airdrop_registered"`
		StellarHidden bool           `json:"stellar_hidden"`
		Blocked       bool           `json:"blocked"`
		UserBlocks    blocks         `json:"user_blocks"`
	}{
		FollowSummary: summary{following, followers},
		Profile:       profile{FullName: acct.FullName, Location: acct.Location, Bio: acct.Bio},
		TeamShowcase:  shown,
		Blocked:       mine.Chat,
		UserBlocks:    blocks{mine.Chat, mine.Follow},
	}, nil
}

// hiddenFollowers are those who follow u and whom u hides.
func (c *call) hiddenFollowers(u kbsig.UID) (map[kbsig.UID]bool, error) {
	blocks, err := people.Blocks(c.view(), u)
	if err != nil {
		return nil, err
	}
	hidden := map[kbsig.UID]bool{}
	for _, b := range blocks {
		if !b.Follow {
			continue
		}
		follows, err := directory.Follows(c.view(), b.UID, u)
		if err != nil {
			return nil, err
		}
		if follows {
			hidden[b.UID] = true
		}
	}
	return hidden, nil
}

// eachFollow calls fn for those who follow u as u is now, without those whom u hides, or,
// with reverse, for those whom u follows, of whom followee says whether they are still
// there. Who was deleted or reset follows nobody any more. It returns how many rows there
// are that it did not look at.
func (c *call) eachFollow(u kbsig.UID, reverse bool, fn func(directory.Follow) error) (beyond int, err error) {
	list, beyond, err := directory.FollowList(c.view(), u, reverse)
	if err != nil {
		return 0, err
	}
	hidden := map[kbsig.UID]bool{}
	if !reverse {
		if hidden, err = c.hiddenFollowers(u); err != nil {
			return 0, err
		}
	}
	eldest, err := identity.EldestSeqno(c.view(), u)
	if err != nil {
		return 0, err
	}
	for _, f := range list {
		if hidden[f.UID] || !reverse && f.Stale(eldest) {
			continue
		}
		if err := fn(f); err != nil {
			return 0, err
		}
	}
	return beyond, nil
}

// followee is the account of somebody whom u follows as f says; nil if it was deleted, or
// reset since.
func (c *call) followee(f directory.Follow) (*accounts.Account, error) {
	acct, err := accounts.Get(c.view(), f.UID)
	if err != nil || acct.Status == accounts.StatusDeleted {
		return nil, err
	}
	eldest, err := identity.EldestSeqno(c.view(), f.UID)
	if err != nil || f.Stale(eldest) {
		return nil, err
	}
	return acct, nil
}

// followCount is how many rows a list has that eachFollow shows; of a list that is too
// long to be shown, all that it does not show count.
func (c *call) followCount(u kbsig.UID, reverse bool) (n int, err error) {
	beyond, err := c.eachFollow(u, reverse, func(f directory.Follow) error {
		if reverse {
			if acct, err := c.followee(f); err != nil || acct == nil {
				return err
			}
		}
		n++
		return nil
	})
	return n + beyond, err
}

// listFollowers: GET user/list_followers_for_display: who follows a user, without those
// whom the user hides, or with reverse whom the user follows.
// client: go/libkb/sync_trackers.go:ServertrustTrackerSyncer.syncFromServer
func listFollowers(c *call) (any, error) {
	acct, err := c.account()
	if err != nil {
		return nil, err
	}
	type row struct {
		UID      string `json:"uid"`
		Username string `json:"username"`
		FullName string `json:"fullName"`
		LinkID   string `json:"linkID"`
	}
	users := []row{}
	reverse := c.flag("reverse")
	_, err = c.eachFollow(acct.UID, reverse, func(f directory.Follow) error {
		look := func(f directory.Follow) (*accounts.Account, error) { return accounts.Get(c.view(), f.UID) }
		if reverse {
			look = c.followee
		}
		other, err := look(f)
		if err == nil && other != nil {
			users = append(users, row{f.UID.String(), string(other.Name), other.FullName, f.Link.String()})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Users   []row `json:"users"`
		Version int64 `json:"version"`
	}{users, acct.TrackVersion}, nil
}
