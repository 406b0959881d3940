package kbsig

import (
	"crypto/sha256"
	"errors"
	"testing"
)

// secretPacket builds a secret-key packet as clients do.
func secretPacket(fields, priv int, how, generation uint64) []byte {
	body := append([]byte{mpFixMap | byte(fields)}, appendText(nil, "priv")...)
	body = append(body, mpFixMap|byte(priv))
	body = appendBin(appendText(body, "data"), []byte("sealed"))
	body = appendUint(appendText(body, "encryption"), how)
	if priv == 3 {
		body = appendUint(appendText(body, "passphrase_generation"), generation)
	}
	body = appendBin(appendText(body, "pub"), []byte("public"))
	if fields == 3 {
		body = appendUint(appendText(body, "type"), 1)
	}
	return encodePacket(body, TagSecretKey)
}

// A secret key is taken in the four forms that clients write, if it is sealed with a
// passphrase; what is inside is read as it was written.
func TestSecretKey(t *testing.T) {
	for _, fields := range []int{2, 3} {
		for _, priv := range []int{2, 3} {
			k, err := DecodeArmoredSecretKey(Armor(secretPacket(fields, priv, sealedTripleSec, 7)))
			if err != nil {
				t.Fatalf("%d and %d fields: %v", fields, priv, err)
			}
			if string(k.Public) != "public" || k.Generation != int64(7*(priv-2)) || k.Algorithm != byte(fields-2) {
				t.Errorf("%d and %d fields read as %+v", fields, priv, k)
			}
		}
	}
	for what, packet := range map[string][]byte{
		"in the clear":         secretPacket(3, 3, 0, 7),
		"sealed by a device":   secretPacket(3, 3, 100, 7),
		"a generation too far": secretPacket(3, 3, sealedTripleSec, secretKeyGenerationMax+1),
		"a signature":          encodePacket([]byte{mpFixMap}, TagSignature),
		"nothing":              nil,
	} {
		if _, err := DecodeArmoredSecretKey(Armor(packet)); !errors.Is(err, ErrPacket) {
			t.Errorf("%s: %v", what, err)
		}
	}
	good := secretPacket(3, 3, sealedTripleSec, 7)
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 1
		if _, err := DecodeArmoredSecretKey(Armor(bad)); err == nil {
			t.Errorf("byte %d can change", i)
		}
	}
}

// Whatever is taken as a secret key has one encoding, whose hash is right.
func FuzzSecretKey(f *testing.F) {
	f.Add(secretPacket(3, 3, sealedTripleSec, 7))
	f.Add(secretPacket(2, 2, sealedTripleSec, 0))
	f.Fuzz(func(t *testing.T, packet []byte) {
		var k *SecretKey
		var err error
		armored := Armor(packet)
		frugal(t, len(armored), func() { k, err = DecodeArmoredSecretKey(armored) })
		if err != nil {
			return
		}
		if len(k.Public) == 0 || sha256.Sum256(k.Public) == sha256.Sum256(nil) {
			t.Fatal("no public half")
		}
	})
}
