package rest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
)

// featuredBotsPageMax bounds the bots of one answer.
const featuredBotsPageMax = 100

// FeaturedBot is a bot that the operator shows to everybody.
// client: go/protocol/keybase1/featured_bot.go:FeaturedBot
type FeaturedBot struct {
	Alias       string `json:"botAlias"`
	Description string `json:"description"`
	Extended    string `json:"extendedDescription"`
	ExtendedRaw string `json:"extendedDescriptionRaw"`
	Username    string `json:"botUsername"`
	OwnerTeam   string `json:"ownerTeam,omitempty"`
	OwnerUser   string `json:"ownerUser,omitempty"`
	Rank        int    `json:"rank"`
	Promoted    bool   `json:"isPromoted"`
}

type botsPage struct {
	Bots       []FeaturedBot `json:"bots"`
	IsLastPage bool          `json:"isLastPage"`
}

// featuredBots: GET featured_bots/featured.
// client: go/teambot/featuredbot.go:FeaturedBotLoader.featuredBotsFromServer
func featuredBots(c *call) (any, error) { return c.botsPage(c.s.Bots) }

// searchBots: GET featured_bots/search: bots whose name or description has all words.
// client: go/teambot/featuredbot.go:FeaturedBotLoader.Search
func searchBots(c *call) (any, error) {
	words := strings.Fields(strings.ToLower(c.raw("query")))
	var found []FeaturedBot
	for _, b := range c.s.Bots {
		text := strings.ToLower(b.Username + " " + b.Alias + " " + b.Description + " " + b.Extended)
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			found = append(found, b)
		}
	}
	return c.botsPage(found)
}

func (c *call) botsPage(bots []FeaturedBot) (any, error) {
	limit, err := c.integer("limit", featuredBotsPageMax)
	if err != nil {
		return nil, err
	}
	offset, err := c.integer("offset", 0)
	if err != nil {
		return nil, err
	}
	if limit == 0 || limit > featuredBotsPageMax {
		limit = featuredBotsPageMax
	}
	bots = slices.SortedStableFunc(slices.Values(bots), func(a, b FeaturedBot) int { return cmp.Compare(b.Rank, a.Rank) })
	lo := min(int(min(offset, 1<<30)), len(bots))
	hi := min(lo+int(limit), len(bots))
	return botsPage{append([]FeaturedBot{}, bots[lo:hi]...), hi == len(bots)}, nil
}

// botTokens: GET bot/token/list. client: go/bot/service_helper.go:ListTokens
func botTokens(c *call) (any, error) {
	acct, err := accounts.Get(c.view(), c.who.UID)
	if err != nil {
		return nil, err
	}
	type row struct {
		Token string `json:"bot_token"`
		CTime int64  `json:"ctime"` // milliseconds
	}
	rows := []row{}
	for _, t := range acct.BotTokens {
		rows = append(rows, row{t.Token, t.CTime})
	}
	return struct {
		BotTokens []row `json:"bot_tokens"`
	}{rows}, nil
}

// botTokenCreate: POST bot/token/create. client: go/bot/service_helper.go:CreateToken
func botTokenCreate(c *call) (any, error) {
	var token string
	err := c.update(func(tx *store.Tx) (err error) {
		token, err = accounts.NewBotToken(tx, c.s.Rand, c.who.UID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return struct {
		BotToken string `json:"bot_token"`
	}{token}, nil
}

// botTokenDelete: POST bot/token/delete. client: go/bot/service_helper.go:DeleteToken
func botTokenDelete(c *call) (any, error) {
	token, err := c.str("bot_token")
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error { return accounts.DropBotToken(tx, c.who.UID, token) })
}
