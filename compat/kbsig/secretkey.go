package kbsig

import "fmt"

// SecretKeyBytesMax bounds a decoded secret-key packet: a PGP key twice, once public
// and once sealed.
const SecretKeyBytesMax = 512 << 10

// secretKeyGenerationMax bounds the passphrase generation inside; one a change.
const secretKeyGenerationMax = 1 << 20

// sealedTripleSec is the sealing of secret keys that are kept with the server: by the
// passphrase. client: go/libkb/constants.go:ClientTriplesecVersion
const sealedTripleSec = 3

// SecretKey is what a server reads of a secret PGP key that a client keeps with it: the
// public half, and that the secret one is sealed. client: go/libkb/skb.go:SKB
type SecretKey struct {
	Public     []byte // OpenPGP packets, not armoured; parts of the input
	Algorithm  byte   // of the key: the type of its key id
	Generation int64  // of the passphrase that it is sealed with
}

// DecodeArmoredSecretKey decodes a base64 tag 513 packet. A secret that is not sealed
// with the owner's passphrase is refused.
func DecodeArmoredSecretKey(s string) (*SecretKey, error) {
	b, err := DecodeArmored(s, SecretKeyBytesMax)
	if err != nil {
		return nil, err
	}
	out := &SecretKey{}
	r := &msgpackReader{buf: b}
	r.mapOf(4, "packet")
	r.text("body")
	fields := int(r.peek() &^ mpFixMap)
	r.mapOf(fields, "secret key")
	r.text("priv")
	priv := int(r.peek() &^ mpFixMap)
	r.mapOf(priv, "sealed part")
	r.text("data")
	sealed := r.bin(SecretKeyBytesMax, "data")
	r.text("encryption")
	how := r.uint(255, "encryption")
	if priv == 3 {
		r.text("passphrase_generation")
		out.Generation = int64(r.uint(secretKeyGenerationMax, "passphrase_generation"))
	}
	r.text("pub")
	out.Public = r.bin(SecretKeyBytesMax, "pub")
	if fields == 3 {
		r.text("type")
		out.Algorithm = byte(r.uint(255, "type"))
	}
	hash, hashAt := readPacketHash(r, true)
	r.text("tag")
	tag := r.uint(1<<16, "tag")
	r.text("version")
	version := r.uint(255, "version")
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("secret-key packet: %w: %w", ErrPacket, err)
	}
	switch {
	case fields != 2 && fields != 3 || priv != 2 && priv != 3:
		return nil, fmt.Errorf("secret-key packet of %d and %d fields: %w", fields, priv, ErrPacket)
	case tag != TagSecretKey || version != packetVersion:
		return nil, fmt.Errorf("packet with tag %d, version %d: %w", tag, version, ErrPacket)
	case !packetHashOK(b, hash, hashAt):
		return nil, fmt.Errorf("packet hash: %w", ErrPacket)
	case how != sealedTripleSec || len(sealed) == 0 || len(out.Public) == 0:
		return nil, fmt.Errorf("secret key that is not sealed with a passphrase: %w", ErrPacket)
	}
	return out, nil
}
