package accounts

import "github.com/keystead/keystead/engine/limits"

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Count("devicesPerUserMax", devicesPerUserMax, "devices", "of one user, revoked ones included"),
		limits.Time("sessionLifetime", sessionLifetime, "of a password session"),
		limits.Count("lockdownHistoryMax", lockdownHistoryMax, "changes", "of one user's lockdown mode that are kept"),
		limits.Count("invitationsMax", invitationsMax, "invitations", "kept, dead ones included"),
		limits.Count("InvitationUsesMax", InvitationUsesMax, "sign-ups", "with one invitation"),
		limits.Time("InvitationLifetimeMax", InvitationLifetimeMax, "that an invitation with an end is open"),
		limits.Bytes("InvitationNoteBytesMax", InvitationNoteBytesMax, "of the operator's note beside an invitation"),
		limits.Bytes("codeTypedMax", codeTypedMax, "of an invitation code as typed"),
		limits.Count("botTokensMax", botTokensMax, "tokens", "of one user to sign up bots with"),
		limits.Bytes("FeatureBytesMax", FeatureBytesMax, "of the name of a client's switch"),
		limits.Count("featuresOfUserMax", featuresOfUserMax, "switches", "set for one user by tests"),
	}
}
