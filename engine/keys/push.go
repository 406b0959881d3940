package keys

import "github.com/keystead/keystead/compat/kbsig"

// prefixPushToken is the family of tokens by which devices are woken.
const prefixPushToken = 'Q'

// PushToken is the key of the token by which a device is woken.
func PushToken(u kbsig.UID, d kbsig.DeviceID) []byte { return cat(prefixPushToken, u[:], d[:]) }

// PushTokens is the prefix of the tokens of a user's devices.
func PushTokens(u kbsig.UID) []byte { return cat(prefixPushToken, u[:]) }
