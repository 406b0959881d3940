package client

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// Tags, versions and algorithm numbers of Keybase packets.
// client: go/kbcrypto/kbpackets.go:PacketTag, go/kbcrypto/algotype.go
const (
	tagSignature  = 514
	tagEncryption = 515
	packetVersion = 1
	hashSHA256    = 8
	hashSHA512    = 10
	sigEdDSA      = 32
	encDH         = 33
)

// packetBytesMax bounds a packet before decoding, in bytes.
const packetBytesMax = 4 << 20

// Packet is a signature packet. The zero values of the lower fields are the
// valid ones' absence; SignPacket fills them. Tests change fields before Encode
// to make packets that must be refused.
// client: go/kbcrypto/nacl_sig_info.go:NaclSigInfo
type Packet struct {
	Key     []byte // the signer's KID, 35 bytes
	Payload []byte
	Sig     []byte // 64 bytes
	NoHash  bool   // leave the hash out, as roots and ancient links may

	Detached bool
	HashType int64
	SigType  int64
	Tag      int64
	Version  int64
}

// SignPacket signs payload directly (no prefix) and wraps it.
// client: go/kbcrypto/nacl_signing_key.go:SignInfoV0
func SignPacket(key *SigningKey, payload []byte) *Packet {
	kid := key.KID()
	return &Packet{
		Key: kid[:], Payload: payload, Sig: ed25519.Sign(key.priv, payload),
		Detached: true, HashType: hashSHA512, SigType: sigEdDSA, Tag: tagSignature, Version: packetVersion,
	}
}

// Encode is the packet's canonical msgpack, with its hash unless NoHash.
func (p *Packet) Encode() []byte {
	body := func(w *packer) {
		w.object(6)
		w.str("detached")
		w.boolean(p.Detached)
		w.str("hash_type")
		w.int(p.HashType)
		w.str("key")
		w.bin(p.Key)
		w.str("payload")
		w.bin(p.Payload)
		w.str("sig")
		w.bin(p.Sig)
		w.str("sig_type")
		w.int(p.SigType)
	}
	return encodePacket(body, p.Tag, p.Version, p.NoHash)
}

// Armor is Encode in standard base64.
func (p *Packet) Armor() string { return base64.StdEncoding.EncodeToString(p.Encode()) }

// encodePacket frames a body: {body, hash, tag, version}, where hash is SHA-256
// over the same bytes with an empty hash.
// client: go/kbcrypto/kbpackets.go:newKeybasePacket
func encodePacket(body func(*packer), tag, version int64, noHash bool) []byte {
	frame := func(hash []byte) []byte {
		w := make(packer, 0, 512)
		if noHash {
			w.object(3)
		} else {
			w.object(4)
		}
		w.str("body")
		body(&w)
		if !noHash {
			w.str("hash")
			w.object(2)
			w.str("type")
			w.int(hashSHA256)
			w.str("value")
			w.bin(hash)
		}
		w.str("tag")
		w.int(tag)
		w.str("version")
		w.int(version)
		return w
	}
	if noHash {
		return frame(nil)
	}
	sum := sha256.Sum256(frame([]byte{}))
	return frame(sum[:])
}

// Errors of packets, for those who sort them.
var (
	errNotCanonical = errors.New("packet is not canonical msgpack")
	errBadSignature = errors.New("signature does not verify")
)

// ParsePacket decodes a signature packet and accepts only the canonical bytes of
// an unprefixed one. It does not verify the signature.
// client: go/kbcrypto/kbpackets.go:DecodePacketFromBytes
func ParsePacket(b []byte) (*Packet, error) {
	fields, hasHash, err := packetBody(b, tagSignature)
	if err != nil {
		return nil, err
	}
	p := &Packet{NoHash: !hasHash, Tag: tagSignature, Version: packetVersion}
	for _, f := range fields {
		var err error
		switch f.key {
		case "detached":
			p.Detached, err = as[bool](f.value)
		case "hash_type":
			p.HashType, err = as[int64](f.value)
		case "key":
			p.Key, err = as[[]byte](f.value)
		case "payload":
			p.Payload, err = as[[]byte](f.value)
		case "sig":
			p.Sig, err = as[[]byte](f.value)
		case "sig_type":
			p.SigType, err = as[int64](f.value)
		default:
			err = fmt.Errorf("unknown field %q", f.key)
		}
		if err != nil {
			return nil, fmt.Errorf("signature packet: %w", err)
		}
	}
	if !bytes.Equal(p.Encode(), b) {
		return nil, errNotCanonical
	}
	return p, nil
}

// packetBody takes a packet apart as far as its body. What it does not look at
// is covered by the caller's comparison with the re-encoded packet.
func packetBody(b []byte, tag int64) (body []packField, hasHash bool, err error) {
	if len(b) > packetBytesMax {
		return nil, false, fmt.Errorf("packet of %d bytes", len(b))
	}
	v, err := unpack(b)
	if err != nil {
		return nil, false, err
	}
	top, err := as[[]packField](v)
	if err != nil {
		return nil, false, err
	}
	for _, f := range top {
		switch f.key {
		case "body":
			if body, err = as[[]packField](f.value); err != nil {
				return nil, false, err
			}
		case "hash":
			hasHash = true
		case "tag":
			if f.value != any(tag) {
				return nil, false, fmt.Errorf("packet with tag %v, not %d", f.value, tag)
			}
		}
	}
	return body, hasHash, nil
}

// Verify checks the packet's constants and its Ed25519 signature and returns the
// signer. client: go/kbcrypto/nacl_sig_info.go:verifyWithPayload
func (p *Packet) Verify() (KID, error) {
	kid, err := kidFromBytes(p.Key)
	switch {
	case err != nil:
		return KID{}, err
	case !kid.IsSigning():
		return KID{}, fmt.Errorf("signer %s is not a signing key", kid)
	case !p.Detached || p.HashType != hashSHA512 || p.SigType != sigEdDSA:
		return KID{}, errors.New("packet of an unknown kind of signature")
	case len(p.Payload) == 0:
		return KID{}, errors.New("packet without payload")
	case len(p.Sig) != ed25519.SignatureSize:
		return KID{}, fmt.Errorf("signature of %d bytes", len(p.Sig))
	case !ed25519.Verify(kid.public(), p.Payload, p.Sig):
		return KID{}, errBadSignature
	}
	return kid, nil
}

// SigIDBaseOf is the id of a packet's bytes.
func SigIDBaseOf(packet []byte) SigIDBase { return sha256.Sum256(packet) }

// openArmored decodes base64 strictly, parses, verifies and returns signer and
// payload.
func openArmored(armored string) (KID, []byte, SigIDBase, error) {
	b, err := unbase64(armored)
	if err != nil {
		return KID{}, nil, SigIDBase{}, err
	}
	p, err := ParsePacket(b)
	if err != nil {
		return KID{}, nil, SigIDBase{}, err
	}
	kid, err := p.Verify()
	return kid, p.Payload, SigIDBaseOf(b), err
}

// unbase64 accepts standard base64 with padding and nothing else; the standard
// decoder skips line breaks, which two clients may treat differently.
func unbase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.EncodedLen(len(b)) != len(s) {
		return nil, errors.New("base64 with line breaks")
	}
	return b, nil
}

// Sealed is an encryption packet: a NaCl box with its sender and receiver.
// client: go/libkb/naclwrap.go:NaclEncryptionInfo
type Sealed struct {
	Ciphertext []byte
	Nonce      [24]byte
	Receiver   KID
	Sender     KID
}

// Encode is the packet's canonical msgpack.
func (s *Sealed) Encode() []byte {
	return encodePacket(func(w *packer) {
		w.object(5)
		w.str("ciphertext")
		w.bin(s.Ciphertext)
		w.str("enc_type")
		w.int(encDH)
		w.str("nonce")
		w.bin(s.Nonce[:])
		w.str("receiver_key")
		w.bin(s.Receiver[:])
		w.str("sender_key")
		w.bin(s.Sender[:])
	}, tagEncryption, packetVersion, false)
}

// Armor is Encode in standard base64.
func (s *Sealed) Armor() string { return base64.StdEncoding.EncodeToString(s.Encode()) }

// ParseSealed decodes base64 of an encryption packet, canonical bytes only.
func ParseSealed(armored string) (*Sealed, error) {
	b, err := unbase64(armored)
	if err != nil {
		return nil, err
	}
	fields, _, err := packetBody(b, tagEncryption)
	if err != nil {
		return nil, err
	}
	s := new(Sealed)
	for _, f := range fields {
		if f.key == "enc_type" {
			continue
		}
		v, err := as[[]byte](f.value)
		if err != nil {
			return nil, fmt.Errorf("encryption packet: %w", err)
		}
		switch f.key {
		case "ciphertext":
			s.Ciphertext = v
		case "nonce":
			copy(s.Nonce[:], v)
		case "receiver_key":
			s.Receiver, err = kidFromBytes(v)
		case "sender_key":
			s.Sender, err = kidFromBytes(v)
		default:
			err = fmt.Errorf("unknown field %q", f.key)
		}
		if err != nil {
			return nil, fmt.Errorf("encryption packet: %w", err)
		}
	}
	if !bytes.Equal(s.Encode(), b) {
		return nil, errNotCanonical
	}
	return s, nil
}
