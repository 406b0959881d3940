package rest

// Teams are not served yet. A client lists them by itself: there are none.

// teamsForUser: GET team/for_user. client: go/teams/list.go
func teamsForUser(*call) (any, error) {
	return struct {
		Teams []any `json:"teams"`
	}{[]any{}}, nil
}
