package client

import "context"

// playHidden verifies the hidden chain.
func (a *Account) playHidden(_ context.Context, t *Team, r *teamReply) error {
	if len(r.Hidden) > 0 {
		return violated(RuleTeamLink, "team "+t.ID.String(), "%d hidden links that this client cannot check", len(r.Hidden))
	}
	return nil
}
