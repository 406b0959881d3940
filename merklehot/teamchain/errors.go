package teamchain

import (
	"errors"
	"fmt"

	"github.com/keystead/keystead/compat/status"
)

// Kind is why a link is refused. Doors turn it into a status by Kinds.
type Kind int

// Kinds of refusal.
const (
	KindNone         Kind = iota
	KindInput             // a field or a shape that cannot be read
	KindSignature         // packet or signature, forward or reverse
	KindWrongKey          // signed by a key that may not sign here
	KindOldSeqno          // not the next link of the chain as it stands now; clients try again
	KindOrder             // quotes a root that proves too little; clients try again
	KindRatchet           // does not commit to the hidden chain as it is; clients try again
	KindGeneration        // key generation, or its recipients, as they were before; clients try again
	KindMismatch          // parts of one post disagree with each other
	KindBatch             // links that may not be posted together
	KindSection           // a section that the type must have or must not have
	KindPermission        // the signer may not do that
	KindMembership        // members that cannot be so
	KindOwnerOnly         // wants an owner
	KindSubteamOwner      // a subteam with an owner
	KindAdminChain        // the admin section names no place where the signer became admin
	KindInvite            // an invitation that cannot be so
	KindInviteCancel      // cancels an invitation that is not active
	KindInviteDone        // completes an invitation that is not active, or nobody's
	KindName              // a name that does not fit
	KindExists            // the name is taken
	KindReserved          // the name is kept
	KindUserName          // the name is a user's
	KindNoTeam            // no such team
	KindDeleted           // the team is no more
	KindChildren          // live subteams are left
	KindImplicit          // not in an implicit team
	KindImplicitRole      // a role that implicit teams do not have
	KindBoxes             // boxes that cannot be so
	KindNoLease           // takes power away without a lease that covers it
	KindLeased            // somebody is taking away what this rests on
	KindTooMany           // a limit of this server
	KindCorrupt           // stored bytes that do not decode: not the client's fault
)

// KindInfo is a row of the table from kinds to the statuses stock clients know.
type KindInfo struct {
	Kind Kind
	Code int // client: go/protocol/keybase1/constants.go:StatusCode
	Name string
	Text string // for people; the door may say more
}

// Kinds is the table, in the order of the constants. Clients try again on 1010, 1021,
// 1022 and 2634. client: go/teams/teams.go:RetryIfPossible
var Kinds = []KindInfo{
	{KindNone, 0, "OK", ""},
	{KindInput, 100, "INPUT_ERROR", "the link cannot be read"},
	{KindSignature, 1002, "SIG_CANNOT_VERIFY", "the signature does not verify"},
	{KindWrongKey, 1008, "SIG_WRONG_KEY", "signed with a key that may not sign for this account"},
	{KindOldSeqno, 1010, "SIG_OLD_SEQNO", "the team's chain has moved on; try again"},
	{KindOrder, 1022, "SIG_BAD_TOTAL_ORDER", "the link quotes a Merkle root that proves too little"},
	{KindRatchet, 1021, "SIG_MISSING_RATCHET", "the link does not commit to the team's hidden chain"},
	{KindGeneration, status.TeamBadGeneration, "TEAM_BAD_GENERATION", "the team's key is not for those who are to have it"},
	{KindMismatch, 100, "INPUT_ERROR", "the parts of the post do not agree"},
	{KindBatch, 100, "INPUT_ERROR", "these links cannot be posted together"},
	{KindSection, 100, "INPUT_ERROR", "the link does not have the parts that its type has"},
	{KindPermission, status.TeamWritePermDenied, "TEAM_WRITE_PERM_DENIED", "you may not do that in this team"},
	{KindMembership, status.TeamBadMembership, "TEAM_BAD_MEMBERSHIP", "the members cannot be so"},
	{KindOwnerOnly, status.TeamNeedOwner, "TEAM_NEED_OWNER", "only an owner may do that"},
	{KindSubteamOwner, status.TeamNoOwnerAllowed, "TEAM_NO_OWNER_ALLOWED", "subteams have no owners"},
	{KindAdminChain, status.TeamBadMembership, "TEAM_BAD_MEMBERSHIP", "the link does not say where its author became an admin"},
	{KindInvite, 100, "INPUT_ERROR", "the invitation cannot be so"},
	{KindInviteCancel, status.TeamInviteBadCancel, "TEAM_INVITE_BAD_CANCEL", "no such active invitation"},
	{KindInviteDone, status.TeamInviteCompletionMissing, "TEAM_INVITE_COMPLETION_MISSING", "the invitation cannot be completed so"},
	{KindName, 711, "BAD_TEAM_NAME", "the name does not fit"},
	{KindExists, status.TeamExists, "TEAM_EXISTS", "the team exists already"},
	{KindReserved, status.TeamBadNameReserved, "TEAM_BAD_NAME_RESERVED_DB", "the name is reserved"},
	{KindUserName, status.TeamNameConflictsWithUser, "TEAM_NAME_CONFLICTS_WITH_USER", "the name is a user's"},
	{KindNoTeam, status.TeamNotFound, "TEAM_NOT_FOUND", "no such team"},
	{KindDeleted, status.TeamReadError, "TEAM_READ_ERROR", "the team has been deleted"},
	{KindChildren, status.TeamHasLiveChildren, "TEAM_HAS_LIVE_CHILDREN", "the team has subteams"},
	{KindImplicit, status.TeamImplicitBadOp, "TEAM_IMPLICIT_BAD_OP", "implicit teams cannot do that"},
	{KindImplicitRole, status.TeamImplicitBadRole, "TEAM_IMPLICIT_BAD_ROLE", "implicit teams have no such role"},
	{KindBoxes, 100, "INPUT_ERROR", "the boxes of the team's key do not fit"},
	{KindNoLease, 100, "INPUT_ERROR", "to take power away needs a valid lease"},
	{KindLeased, 1016, "SIG_CREATION_DISALLOWED", "what the link rests on is being taken away"},
	{KindTooMany, 100, "INPUT_ERROR", "a limit of this server is reached"},
	{KindCorrupt, 218, "GENERIC", "internal error"},
}

// Error is a refusal: its kind and what was wrong.
type Error struct {
	Kind Kind
	err  error
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// Refuse makes a refusal.
func Refuse(k Kind, format string, args ...any) error {
	return &Error{Kind: k, err: fmt.Errorf(format, args...)}
}

// KindOf finds the kind in an error chain; KindNone for nil and for errors that are no
// refusals.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindNone
}

// Info is the table row of a kind.
func (k Kind) Info() KindInfo {
	if k < 0 || int(k) >= len(Kinds) {
		return Kinds[KindCorrupt]
	}
	return Kinds[k]
}
