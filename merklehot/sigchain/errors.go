package sigchain

import (
	"errors"
	"fmt"
)

// Kind is why a link is refused. Doors turn it into a status by Kinds.
type Kind int

// Kinds of refusal.
const (
	KindNone          Kind = iota
	KindInput              // a field or a shape that cannot be read
	KindNotAvailable       // a link type that this server does not take yet
	KindSignature          // packet or signature, forward or reverse
	KindWrongKey           // signed by a key that may not sign here
	KindOldSeqno           // not the next link of the chain as it stands now
	KindOrder              // quotes a root, a time or a high_skip that cannot be
	KindMismatch           // parts of one post disagree with each other
	KindWrongUser          // somebody else's link
	KindEldest             // wrong eldest key, or an eldest link where none may be
	KindNoEldest           // no incarnation to append to
	KindKeyInUse           // key known already, to this chain or another
	KindSibkeyExists       // device already has this kind of key
	KindKeyRevoked         // key was revoked before
	KindKeyNotFound        // revokes a key or signature that the chain does not have
	KindGeneration         // per-user key generation that is not the next
	KindBoxes              // per-user key boxes incomplete or too many
	KindDeviceName         // device name not allowed
	KindDeviceNameUse      // device name used before
	KindDeviceStatus       // device id used before, or device not active
	KindDevice             // unknown device
	KindDeviceOther        // keys and device that do not belong together
	KindNoLease            // revokes without a lease that covers it
	KindTarget             // follows nobody, itself, or unfollows one not followed
	KindBatch              // links that may not be posted together
	KindTooMany            // a limit of this server
	KindDeleted            // the account is no more
	KindBadKey             // a PGP key that clients could not load
	KindSameVersion        // updates a PGP key to the version that it has
	KindCorrupt            // stored bytes that do not decode: not the client's fault
)

// KindInfo is a row of the table from kinds to the statuses stock clients know.
type KindInfo struct {
	Kind Kind
	Code int // client: go/protocol/keybase1/constants.go:StatusCode
	Name string
	Text string // for people; the door may say more
}

// Kinds is the table, in the order of the constants.
var Kinds = []KindInfo{
	{KindNone, 0, "OK", ""},
	{KindInput, 100, "INPUT_ERROR", "the link cannot be read"},
	{KindNotAvailable, 1016, "SIG_CREATION_DISALLOWED", "this kind of statement is not available on this server yet"},
	{KindSignature, 1002, "SIG_CANNOT_VERIFY", "the signature does not verify"},
	{KindWrongKey, 1008, "SIG_WRONG_KEY", "signed with a key that may not sign for this account"},
	{KindOldSeqno, 1010, "SIG_OLD_SEQNO", "the chain has moved on; try again"},
	{KindOrder, 1022, "SIG_BAD_TOTAL_ORDER", "the statement quotes a Merkle root or a time that does not fit"},
	{KindMismatch, 100, "INPUT_ERROR", "the parts of the post do not agree"},
	{KindWrongUser, 1008, "SIG_WRONG_KEY", "the statement is about another account"},
	{KindEldest, 919, "KEY_BAD_ELDEST", "wrong eldest key"},
	{KindNoEldest, 920, "KEY_NO_ELDEST", "the account has no eldest key"},
	{KindKeyInUse, 907, "KEY_IN_USE", "the key is in use already"},
	{KindSibkeyExists, 922, "SIBKEY_ALREADY_EXISTS", "the device has such a key already"},
	{KindKeyRevoked, 931, "KEY_REVOKED", "the key was revoked"},
	{KindKeyNotFound, 901, "KEY_NOT_FOUND", "no such active key or signature"},
	{KindGeneration, 913, "KEY_BAD_GEN", "wrong per-user key generation"},
	{KindBoxes, 100, "INPUT_ERROR", "per-user key boxes do not fit"},
	{KindDeviceName, 1404, "DEVICE_BAD_NAME", "device name not allowed"},
	{KindDeviceNameUse, 1408, "DEVICE_NAME_IN_USE", "device name in use"},
	{KindDeviceStatus, 1405, "DEVICE_BAD_STATUS", "device is known already, or not active"},
	{KindDevice, 1409, "DEVICE_NOT_FOUND", "no such device"},
	{KindDeviceOther, 1410, "DEVICE_MISMATCH", "keys and device do not belong together"},
	{KindNoLease, 100, "INPUT_ERROR", "a revocation needs a valid lease"},
	{KindTarget, 100, "INPUT_ERROR", "nobody to follow or unfollow"},
	{KindBatch, 100, "INPUT_ERROR", "these statements cannot be posted together"},
	{KindTooMany, 100, "INPUT_ERROR", "a limit of this server is reached"},
	{KindDeleted, 216, "DELETED", "the account has been deleted"},
	{KindBadKey, 905, "KEY_CORRUPTED", "the PGP key cannot be read"},
	{KindSameVersion, 921, "KEY_DUPLICATE_UPDATE", "the PGP key is up to date already"},
	{KindCorrupt, 218, "GENERIC", "internal error"},
}

// Error is a refusal: its kind and what was wrong.
type Error struct {
	Kind Kind
	err  error
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// refuse makes an Error.
func refuse(k Kind, format string, args ...any) error {
	return &Error{Kind: k, err: fmt.Errorf(format, args...)}
}

// KindOf finds the kind in an error chain; KindNone for nil and for errors that
// are no refusals (a failing Env).
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

func (k Kind) String() string { return k.Info().Name }
