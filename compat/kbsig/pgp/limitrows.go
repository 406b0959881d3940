package pgp

import (
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []kbsig.LimitRow {
	return []kbsig.LimitRow{
		{Name: "BundleBytesMax", Value: fmt.Sprint(BundleBytesMax), Unit: "bytes", What: "of an armoured PGP key"},
		{Name: "MessageBytesMax", Value: fmt.Sprint(MessageBytesMax), Unit: "bytes", What: "of a signed PGP message, armoured or unpacked"},
		{Name: "packetsMax", Value: fmt.Sprint(packetsMax), Unit: "packets", What: "of one PGP key"},
		{Name: "userIDsMax", Value: fmt.Sprint(userIDsMax), Unit: "user ids", What: "of one PGP key"},
		{Name: "subkeysMax", Value: fmt.Sprint(subkeysMax), Unit: "subkeys", What: "of one PGP key"},
		{Name: "selfSignaturesMax", Value: fmt.Sprint(selfSignaturesMax), Unit: "signatures", What: "of one PGP key by itself"},
		{Name: "keyBitsMax", Value: fmt.Sprint(keyBitsMax), Unit: "bits", What: "of the modulus of a PGP key"},
		{Name: "subgroupBitsMax", Value: fmt.Sprint(subgroupBitsMax), Unit: "bits", What: "of the exponents of a DSA key"},
		{Name: "layersMax", Value: fmt.Sprint(layersMax), Unit: "layers", What: "of compression around a signed PGP message"},
	}
}
