package client

import (
	"errors"
	"fmt"
)

// Numbers of link types. client: go/libkb/chain_link_v2.go:SigchainV2Type
const (
	typeEldest         = 1
	typeService        = 2
	typeTrack          = 3
	typeUntrack        = 4
	typeRevoke         = 5
	typeCrypto         = 6
	typeAnnouncement   = 7
	typeDevice         = 8
	typeServiceRevoke  = 9
	typeCryptoRevoke   = 10
	typeSibkey         = 11
	typeSubkey         = 12
	typePGPUpdate      = 13
	typePerUserKey     = 14
	typeWallet         = 15
	typeWotVouch       = 16
	typeWotVouchRevoke = 17
	typeWotReact       = 18
)

// seqTypePublic is the only kind of chain a user has.
const seqTypePublic = 1

// userTypes maps a link's type to its number without and with a revoke section;
// 0 as the second means that the number does not change. Types without a number
// exist in version 1 only. client: go/libkb/chain_link_v2.go:SigchainV2TypeFromV1TypeAndRevocations
var userTypes = map[string][2]int64{
	"eldest":                 {typeEldest, 0},
	"web_service_binding":    {typeService, typeServiceRevoke},
	"track":                  {typeTrack, 0},
	"untrack":                {typeUntrack, 0},
	"revoke":                 {typeRevoke, 0},
	"cryptocurrency":         {typeCrypto, typeCryptoRevoke},
	"announcement":           {typeAnnouncement, 0},
	"device":                 {typeDevice, 0},
	"sibkey":                 {typeSibkey, 0},
	"subkey":                 {typeSubkey, 0},
	"pgp_update":             {typePGPUpdate, 0},
	"per_user_key":           {typePerUserKey, 0},
	"wallet.stellar":         {typeWallet, 0},
	"wot.vouch":              {typeWotVouch, typeWotVouchRevoke},
	"wot.react":              {typeWotReact, 0},
	"update_passphrase_hash": {0, 0},
	"update_settings":        {0, 0},
}

// typeNumber is the outer number of an inner type; 0 for one it does not know.
func typeNumber(typ string, revokes bool) int64 {
	n := userTypes[typ]
	if revokes && n[1] != 0 {
		return n[1]
	}
	return n[0]
}

// supportedType reports the numbers whose meaning v6.3.0 knows for user chains.
// client: go/libkb/chain_link_v2.go:IsSupportedUserType
func supportedType(n int64) bool {
	return n >= 0 && n <= typeWotVouchRevoke && n != typeWotVouch
}

// stubbableType reports the numbers that may be sent without their inner link.
// client: go/libkb/chain_link_v2.go:AllowStubbing
func stubbableType(n int64) bool {
	return n == typeTrack || n == typeUntrack || n == typeAnnouncement || !supportedType(n)
}

// highType reports the numbers of links that high skips point to.
// client: go/libkb/chain_link.go:IsHighUserLink
func highType(n int64) bool {
	switch n {
	case typeEldest, typeRevoke, typeServiceRevoke, typeCryptoRevoke, typeSibkey, typeWotVouchRevoke, typePGPUpdate:
		return true
	}
	return false
}

// Outer is the signed frame of a v2 link: an array of Fields (5, 6, 7 or 9)
// elements. client: go/libkb/chain_link_v2.go:OuterLinkV2
type Outer struct {
	Fields        int
	Version       int64
	Seqno         int64
	Prev          []byte // nil for the first link
	Curr          []byte // SHA-256 of the inner link
	Type          int64
	SeqType       int64
	Ignore        bool // ignore_if_unsupported
	HighSkipSeqno *int64
	HighSkipHash  []byte
}

// Encode is the canonical msgpack of the first Fields elements.
func (o *Outer) Encode() []byte {
	var w packer
	o.encodeTo(&w)
	return w
}

func (o *Outer) encodeTo(w *packer) {
	w.array(o.Fields)
	w.int(o.Version)
	w.int(o.Seqno)
	w.binOrNull(o.Prev)
	w.binOrNull(o.Curr)
	w.int(o.Type)
	if o.Fields >= 6 {
		w.int(o.SeqType)
	}
	if o.Fields >= 7 {
		w.boolean(o.Ignore)
	}
	if o.Fields >= 9 {
		if o.HighSkipSeqno == nil {
			w.null()
		} else {
			w.int(*o.HighSkipSeqno)
		}
		w.binOrNull(o.HighSkipHash)
	}
}

func outerFrom(v any) (*Outer, error) {
	a, err := as[[]any](v)
	if err != nil {
		return nil, err
	}
	o := &Outer{Fields: len(a), SeqType: seqTypePublic}
	switch len(a) {
	case 5, 6, 7, 9:
	default:
		return nil, fmt.Errorf("outer link of %d fields", len(a))
	}
	ints := []struct {
		at int
		to *int64
	}{{0, &o.Version}, {1, &o.Seqno}, {4, &o.Type}, {5, &o.SeqType}}
	for _, f := range ints {
		if f.at < len(a) {
			if *f.to, err = as[int64](a[f.at]); err != nil {
				return nil, err
			}
		}
	}
	if o.Prev, err = binOrNil(a[2]); err != nil {
		return nil, err
	}
	if o.Curr, err = binOrNil(a[3]); err != nil {
		return nil, err
	}
	if len(a) >= 7 {
		if o.Ignore, err = as[bool](a[6]); err != nil {
			return nil, err
		}
	}
	if len(a) == 9 {
		if a[7] != nil {
			n, err := as[int64](a[7])
			if err != nil {
				return nil, err
			}
			o.HighSkipSeqno = &n
		}
		if o.HighSkipHash, err = binOrNil(a[8]); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func binOrNil(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	b, err := as[[]byte](v)
	if err == nil && len(b) != 32 {
		err = errors.New("hash that is not 32 bytes")
	}
	return b, err
}
