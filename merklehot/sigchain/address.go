package sigchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// Limits of addresses.
const (
	// base58CharsMax bounds a base58 address, in characters; the longest kind, a
	// shielded one, has 95.
	base58CharsMax = 128
	// bech32CharsMin and bech32CharsMax bound a bech32 address, in characters.
	bech32CharsMin = 8
	bech32CharsMax = 90
)

// Currency is the kind of a currency address, as links name it.
// client: go/libkb/cryptocurrency.go:CryptocurrencyType
type Currency string

// Kinds of addresses.
const (
	CurrencyBitcoin      Currency = "bitcoin"
	CurrencyZcashShield  Currency = "zcash.z"
	CurrencyZcashClear   Currency = "zcash.t"
	CurrencyZcashSapling Currency = "zcash.s"
)

// Family is "bitcoin" or "zcash".
func (c Currency) Family() string {
	family, _, _ := strings.Cut(string(c), ".")
	return family
}

// base58Kinds are the addresses in base58: their first bytes and their length, in
// bytes. client: go/libkb/cryptocurrency.go:addressToType
var base58Kinds = []struct {
	prefix []byte
	length int
	kind   Currency
}{
	{[]byte{0x00}, 25, CurrencyBitcoin},
	{[]byte{0x05}, 25, CurrencyBitcoin},
	{[]byte{0x16, 0x9a}, 70, CurrencyZcashShield},
	{[]byte{0x1c, 0xb8}, 26, CurrencyZcashClear},
	{[]byte{0x1c, 0xbd}, 26, CurrencyZcashClear},
}

// bech32Kinds are the addresses in bech32, by what stands before the separator.
var bech32Kinds = []struct {
	hrp  string
	kind Currency
}{{"bc", CurrencyBitcoin}, {"zs", CurrencyZcashSapling}}

// CurrencyOf checks an address, its checksum included, and says of what kind it is.
// Addresses that may be written in capitals are taken in small letters only, as
// clients sign them. client: go/libkb/cryptocurrency.go:CryptocurrencyParseAndCheck,
// go/engine/cryptocurrency.go:normalizeAddress
func CurrencyOf(address string) (Currency, error) {
	for _, k := range bech32Kinds {
		if strings.HasPrefix(strings.ToLower(address), k.hrp+"1") {
			return k.kind, checkBech32(address, k.hrp)
		}
	}
	raw, err := decodeBase58(address)
	if err != nil {
		return "", err
	}
	for _, k := range base58Kinds {
		if !bytes.HasPrefix(raw, k.prefix) {
			continue
		}
		if len(raw) != k.length {
			return "", fmt.Errorf("%s address of %d bytes", k.kind, len(raw))
		}
		body, sum := raw[:len(raw)-4], raw[len(raw)-4:]
		once := sha256.Sum256(body)
		if twice := sha256.Sum256(once[:]); !bytes.Equal(twice[:4], sum) {
			return "", fmt.Errorf("%s address with a wrong checksum", k.kind)
		}
		return k.kind, nil
	}
	return "", fmt.Errorf("address of no known currency")
}

const base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// decodeBase58 reads a number in base 58; each leading '1' is a zero byte.
func decodeBase58(s string) ([]byte, error) {
	if len(s) == 0 || len(s) > base58CharsMax {
		return nil, fmt.Errorf("address of %d characters", len(s))
	}
	var number []byte // little endian
	for i := 0; i < len(s); i++ {
		carry := strings.IndexByte(base58Alphabet, s[i])
		if carry < 0 {
			return nil, fmt.Errorf("address with a character that is not of its alphabet")
		}
		for j := range number {
			carry += int(number[j]) * 58
			number[j] = byte(carry)
			carry >>= 8
		}
		for ; carry > 0; carry >>= 8 {
			number = append(number, byte(carry))
		}
	}
	out := make([]byte, len(s)-len(strings.TrimLeft(s, "1")), len(s))
	for i := len(number) - 1; i >= 0; i-- {
		out = append(out, number[i])
	}
	return out, nil
}

const bech32Alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// checkBech32 checks the form of BIP 173.
func checkBech32(s, hrp string) error {
	if len(s) < bech32CharsMin || len(s) > bech32CharsMax {
		return fmt.Errorf("address of %d characters", len(s))
	}
	sum := uint32(1)
	feed := func(v byte) {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for i := 0; i < len(hrp); i++ {
		feed(hrp[i] >> 5)
	}
	feed(0)
	for i := 0; i < len(hrp); i++ {
		feed(hrp[i] & 31)
	}
	data := s[len(hrp)+1:]
	for i := 0; i < len(data); i++ {
		v := strings.IndexByte(bech32Alphabet, data[i])
		if v < 0 {
			return fmt.Errorf("address with a character that is not of its alphabet")
		}
		feed(byte(v))
	}
	if len(data) < 6 || sum != 1 {
		return fmt.Errorf("%s address with a wrong checksum", hrp)
	}
	return nil
}

// stellarAccountVersion makes an encoded account begin with 'G'.
const stellarAccountVersion = 6 << 3

// StellarKey is the signing key that a Stellar account is named after.
// client: go/libkb/stellar.go:MakeNaclSigningKeyPairFromStellarAccountID
func StellarKey(account string) (kbsig.KID, error) {
	raw, err := base32.StdEncoding.DecodeString(account)
	if err != nil || base32.StdEncoding.EncodeToString(raw) != account {
		return kbsig.KID{}, fmt.Errorf("account that is not base32")
	}
	if len(raw) != 1+32+2 || raw[0] != stellarAccountVersion {
		return kbsig.KID{}, fmt.Errorf("no public name of an account")
	}
	sum := uint16(0) // CRC-16/XMODEM
	for _, b := range raw[:33] {
		sum ^= uint16(b) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	if raw[33] != byte(sum) || raw[34] != byte(sum>>8) {
		return kbsig.KID{}, fmt.Errorf("account with a wrong checksum")
	}
	return kbsig.NewKID(kbsig.KIDTypeEdDSA, [32]byte(raw[1:33])), nil
}
