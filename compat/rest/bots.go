package rest

// featuredBots: GET featured_bots/featured and featured_bots/search.
// client: go/teambot/featuredbot.go:FeaturedBotLoader.featuredBotsFromServer
func featuredBots(*call) (any, error) {
	return struct {
		Bots       []any `json:"bots"`
		IsLastPage bool  `json:"isLastPage"`
	}{[]any{}, true}, nil
}

// botTokens: GET bot/token/list. None can have been made yet.
func botTokens(*call) (any, error) {
	return struct {
		BotTokens []any `json:"bot_tokens"`
	}{[]any{}}, nil
}
