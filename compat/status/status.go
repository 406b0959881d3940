// Package status is the vocabulary of answers: the status object at the top of
// every REST reply, and the codes that stock clients understand.
//
// Names are shown to people and some are compared by clients, so they are spelled
// as clients spell them. Fields hold strings only: anything else makes the client's
// decoder fail. client: go/libkb/interfaces.go:AppStatus
package status

import "fmt"

// Status codes. client: go/protocol/keybase1/constants.go:StatusCode
const (
	OK                   = 0
	InputError           = 100
	LoginRequired        = 201
	BadSession           = 202
	BadLoginUserNotFound = 203
	BadLoginPassword     = 204
	NotFound             = 205
	ThrottleControl      = 210
	Deleted              = 216
	Generic              = 218
	BadUsername          = 243
	MerkleUpdateRoot     = 300
	BadEmail             = 472
	RateLimit            = 602
	UsernameTaken        = 701
	Duplicate            = 706
	BadInvitationCode    = 707
	UsernameReserved     = 710
	BadTeamName          = 711
	FeatureFlag          = 712
	EmailTaken           = 713
	EmailAlreadyAdded    = 714
	EmailLimitExceeded   = 715
	EmailPrimary         = 716
	EmailUnknown         = 717
	BotTokenNotFound     = 719
	UsernameDeleted      = 3221
	KeyNotFound          = 901
	KeyInUse             = 907
	KeySibkeyExists      = 922
	KeyRevoked           = 931
	DeviceBadName        = 1404
	DeviceNameInUse      = 1408
	DeviceNotFound       = 1409
	EKBadGeneration      = 2900
	EKUnknownDevice      = 2901
	EKDeviceAfter        = 2906
	EKMemberAfter        = 2907
	PhoneUnknown         = 3400
	PhoneVerified        = 3401
	PhoneCodeExpired     = 3402
	PhoneCodeWrong       = 3403
	PhoneLimitExceeded   = 3404
)

// Error is an answer other than OK. It is what a handler returns to choose the
// client's reaction.
type Error struct {
	Code   int
	Name   string
	Desc   string
	Fields map[string]string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%s %d)", e.Desc, e.Name, e.Code) }

// New makes an Error; desc reaches the person in front of the client verbatim.
func New(code int, name, desc string) *Error { return &Error{Code: code, Name: name, Desc: desc} }

// With adds one field.
func (e *Error) With(key, value string) *Error {
	c := *e
	c.Fields = make(map[string]string, len(e.Fields)+1)
	for k, v := range e.Fields {
		c.Fields[k] = v
	}
	c.Fields[key] = value
	return &c
}

// Input is the answer to an argument that cannot be used.
func Input(format string, args ...any) *Error {
	return New(InputError, "INPUT_ERROR", fmt.Sprintf(format, args...))
}

// InputField is Input that names the argument in the fields; sign-up prompts again
// when "username" is among them. client: go/client/cmd_signup.go
func InputField(field, desc string) *Error {
	return New(InputError, "INPUT_ERROR", desc).With(field, desc)
}

// Missing is the answer to a question about something that does not exist.
func Missing(what string) *Error { return New(NotFound, "NOT_FOUND", what+" not found") }

// Unavailable is the answer for an endpoint that this server does not have.
func Unavailable(what string) *Error {
	return New(Generic, "GENERIC", what+" is not available on this server yet")
}
