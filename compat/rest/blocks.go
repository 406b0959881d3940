package rest

import (
	"encoding/json"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/home"
)

// blocksGet: GET user/get_blocks: those asked for, or all. Who was blocked once and is
// no longer stays in the list, with nothing blocked.
// client: go/engine/user_blocks_get.go:UserBlocksGet.Run
func blocksGet(c *call) (any, error) {
	only, err := c.uidList("uids", usersPerQuestionMax)
	if err != nil {
		return nil, err
	}
	list := []people.Blocked{}
	if c.has("uids") {
		for _, u := range only {
			b, err := people.BlockOf(c.view(), c.who.UID, u)
			if err != nil {
				return nil, err
			}
			if b.CTime != 0 {
				list = append(list, people.Blocked{UID: u, Block: b})
			}
		}
	} else if list, err = people.Blocks(c.view(), c.who.UID); err != nil {
		return nil, err
	}
	type row struct {
		UID      string `json:"block_uid"`
		Username string `json:"block_username"`
		CTime    int64  `json:"ctime"`
		MTime    int64  `json:"mtime,omitempty"`
		Chat     bool   `json:"chat"`
		Follow   bool   `json:"follow"`
	}
	rows := []row{}
	for _, b := range list {
		acct, err := accounts.Get(c.view(), b.UID)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{b.UID.String(), string(acct.Name), b.CTime, b.MTime, b.Chat, b.Follow})
	}
	return struct {
		Blocks []row `json:"blocks"`
	}{rows}, nil
}

// blocksSet: POST user/set_blocks. Flags that are not sent stay as they are.
// client: go/engine/user_blocks_set.go:UserBlocksSet.Run
func blocksSet(c *call) (any, error) {
	var body struct {
		Blocks []struct {
			UID    string `json:"block_uid"`
			Chat   *bool  `json:"chat"`
			Follow *bool  `json:"follow"`
		} `json:"blocks"`
	}
	if err := c.body(&body); err != nil {
		return nil, err
	}
	if len(body.Blocks) == 0 {
		return nil, status.InputField("blocks", "the argument blocks is missing")
	}
	var changes []people.BlockChange
	for _, b := range body.Blocks {
		u, err := kbsig.ParseUID(b.UID)
		if err != nil {
			return nil, status.InputField("block_uid", "the argument block_uid cannot be used: "+reason(err))
		}
		if b.Chat == nil && b.Follow == nil {
			return nil, status.InputField("blocks", "a block says neither chat nor follow")
		}
		changes = append(changes, people.BlockChange{UID: u, Chat: b.Chat, Follow: b.Follow})
	}
	return none{}, c.block(changes)
}

// blockUser: POST user/block, the old form, which blocks both ways.
// client: go/service/user.go:UserHandler.setUserBlock
func blockUser(c *call) (any, error) {
	u, err := c.uid("block_uid")
	if err != nil {
		return nil, err
	}
	blocked := !c.flag("unblock")
	return none{}, c.block([]people.BlockChange{{UID: u, Chat: &blocked, Follow: &blocked}})
}

// block changes whom the caller has blocked, and tells the caller's devices.
// client: go/service/user_handler.go:userHandler.userBlocked
func (c *call) block(changes []people.BlockChange) error {
	return c.update(func(tx *store.Tx) error {
		changed, err := people.SetBlocks(tx, c.who.UID, changes)
		if err != nil || len(changed) == 0 {
			return fault(err)
		}
		type row struct {
			UID      string `json:"block_uid"`
			Username string `json:"block_username"`
			Chat     bool   `json:"chat"`
			Follow   bool   `json:"follow"`
		}
		news := struct {
			Blocks   []row  `json:"blocks"`
			UID      string `json:"blocker_uid"`
			Username string `json:"blocker_username"`
		}{[]row{}, c.who.UID.String(), string(c.who.Name)}
		for _, u := range changed {
			acct, err := accounts.Get(tx, u)
			if err != nil {
				return err
			}
			b, err := people.BlockOf(tx, c.who.UID, u)
			if err != nil {
				return err
			}
			news.Blocks = append(news.Blocks, row{u.String(), string(acct.Name), b.Chat, b.Follow})
		}
		body, err := json.Marshal(news)
		if err != nil {
			return err
		}
		if err := home.Blocks(tx, c.who.UID); err != nil {
			return err
		}
		return events.Add(tx, events.News{To: c.who.UID, Category: "user.blocked", Body: body, Replace: true})
	})
}
