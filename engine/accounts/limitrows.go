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
		limits.Count("MailsMax", MailsMax, "mail addresses", "of a user"),
		limits.Bytes("MailBytesMax", MailBytesMax, "of a mail address"),
		limits.Time("mailTokenLifetime", mailTokenLifetime, "of the link in a verification mail"),
		limits.Count("claimsKept", claimsKept, "users", "who are remembered to name a mail address as theirs without having verified it"),
		limits.Count("PhonesMax", PhonesMax, "telephone numbers", "of a user"),
		limits.Time("phoneCodeLifetime", phoneCodeLifetime, "of the code in a text message"),
		limits.Count("phoneTriesMax", phoneTriesMax, "wrong codes", "until another must be sent"),
		limits.Count("phoneCodeDigits", phoneCodeDigits, "digits", "of such a code"),
		limits.Count("LookupsPerDayMax", LookupsPerDayMax, "addresses and numbers", "that a user looks up in a day and has not looked up before"),
		limits.Count("InvitesPerDayMax", InvitesPerDayMax, "invitations", "that a user sends in a day"),
		limits.Count("TeamInvitesPerDayMax", TeamInvitesPerDayMax, "mails and text messages", "that invite to teams for a user in a day; further invitations stand, but nobody is written to"),
		limits.Count("VerifiesPerDayMax", VerifiesPerDayMax, "messages", "for verification that a user asks for in a day"),
		limits.Count("settingTeamsMax", settingTeamsMax, "teams", "in a user's contact settings"),
		limits.Count("followeeDegreesMax", followeeDegreesMax, "degrees", "of followees whom the contact settings let in"),
		limits.Bytes("codeTypedMax", codeTypedMax, "of an invitation code as typed"),
		limits.Count("botTokensMax", botTokensMax, "tokens", "of one user to sign up bots with"),
		limits.Bytes("FeatureBytesMax", FeatureBytesMax, "of the name of a client's switch"),
		limits.Count("featuresOfUserMax", featuresOfUserMax, "switches", "set for one user by tests"),
	}
}
