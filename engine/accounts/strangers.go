package accounts

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/store"
)

// Limits of what a user does to people whom the server may not know.
const (
	// LookupsPerDayMax bounds the addresses and numbers that a user looks up and has
	// not looked up before.
	LookupsPerDayMax = 5000
	// InvitesPerDayMax bounds the invitations that a user sends.
	InvitesPerDayMax = 20
	// TeamInvitesPerDayMax bounds the mails and text messages that invite people to
	// teams for a user.
	TeamInvitesPerDayMax = 200
	// VerifiesPerDayMax bounds the verification mails and text messages that a user
	// asks for.
	VerifiesPerDayMax = 30
	// settingTeamsMax bounds the teams in the contact settings.
	settingTeamsMax = 500
	// followeeDegreesMax is the widest circle of people who may make contact.
	followeeDegreesMax = 2
)

// Purpose is what a budget is for.
type Purpose string

// The purposes.
const (
	Lookups     Purpose = "lookup"
	Invites     Purpose = "invite"
	TeamInvites Purpose = "team"
	Verifies    Purpose = "verify"
)

var budgets = map[Purpose]int{
	Lookups: LookupsPerDayMax, Invites: InvitesPerDayMax, TeamInvites: TeamInvitesPerDayMax, Verifies: VerifiesPerDayMax,
}

// ErrBudget says that a user has done so much of something that it must wait for a day.
var ErrBudget = errors.New("enough of that for today")

// Budget is how much of something a user has done on a day. It outlives a restart,
// unlike rate limits.
type Budget struct {
	For  Purpose `codec:"f"`
	Day  int64   `codec:"d"` // days since 1970
	Used int     `codec:"u"`
}

// Spend takes n from one of the user's budgets, or is ErrBudget and takes nothing.
func Spend(tx *store.Tx, u kbsig.UID, what Purpose, n int) error {
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	day := tx.Now().Unix() / int64(24*time.Hour/time.Second)
	i := slices.IndexFunc(c.Budgets, func(b Budget) bool { return b.For == what })
	if i < 0 {
		c.Budgets = append(c.Budgets, Budget{For: what})
		i = len(c.Budgets) - 1
	}
	b := &c.Budgets[i]
	if b.Day != day {
		b.Day, b.Used = day, 0
	}
	if n > budgets[what]-b.Used {
		return ErrBudget
	}
	b.Used += n
	putContact(tx, u, c)
	return nil
}

// ContactSettings say from whom a user takes first messages. Nobody is asked for them
// but the user; what they keep out is decided where contact is made.
// client: go/protocol/keybase1/account.go:ContactSettings
type ContactSettings struct {
	Enabled              bool          `codec:"e,omitempty"`
	AllowFolloweeDegrees int           `codec:"d,omitempty"` // 0 to followeeDegreesMax
	AllowGoodTeams       bool          `codec:"g,omitempty"`
	Teams                []TeamContact `codec:"t,omitempty"`
	Version              int           `codec:"v,omitempty"` // grows with each change
}

// TeamContact is what the settings say of one team.
type TeamContact struct {
	TeamID  string `codec:"i"`
	Enabled bool   `codec:"e,omitempty"`
}

// ErrSettings says that contact settings cannot be like that.
var ErrSettings = errors.New("contact settings cannot be like that")

// SetContactSettings replaces a user's settings.
func SetContactSettings(tx *store.Tx, u kbsig.UID, s ContactSettings) error {
	switch {
	case s.AllowFolloweeDegrees < 0 || s.AllowFolloweeDegrees > followeeDegreesMax:
		return fmt.Errorf("%w: followees of the degrees 0 to %d can be let in", ErrSettings, followeeDegreesMax)
	case len(s.Teams) > settingTeamsMax:
		return fmt.Errorf("%w: at most %d teams can be named", ErrSettings, settingTeamsMax)
	}
	c, err := GetContact(tx, u)
	if err != nil {
		return err
	}
	s.Version = c.Settings.Version + 1
	c.Settings = s
	putContact(tx, u, c)
	return nil
}
