package kbsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// Limits of what is decoded, in bytes.
const (
	// PayloadBytesMax bounds what one signature signs. Inner JSON is bounded
	// lower, by InnerBytesMax; Merkle root payloads are a few KiB.
	PayloadBytesMax = 128 << 10
	// PacketBytesMax bounds a decoded packet: a payload and its frame.
	PacketBytesMax = PayloadBytesMax + 512
	// BoxBytesMax bounds the ciphertext of an encryption packet.
	BoxBytesMax = 4 << 10
)

// Packet tags. client: go/kbcrypto/kbpackets.go:PacketTag
const (
	TagSecretKey  = 513
	TagSignature  = 514
	TagEncryption = 515
)

// Constants inside packets. client: go/kbcrypto/algotype.go, hash_type.go
const (
	packetVersion   = 1
	packetHashSHA2  = 8  // of the packet's own hash
	sigHashSHA512   = 10 // hash_type of a signature body
	sigTypeEdDSA    = 32
	encTypeDH       = 33
	boxNonceBytes   = 24
	signatureBytes  = ed25519.SignatureSize
	packetHashBytes = sha256.Size
)

var (
	// ErrPacket reports bytes that are no packet stock clients would take.
	ErrPacket = errors.New("malformed packet")
	// ErrSignature reports a well-formed signature that does not verify.
	ErrSignature = errors.New("signature does not verify")
)

// Signature is a decoded signature packet with its payload attached.
// client: go/kbcrypto/nacl_sig_info.go:NaclSigInfo
type Signature struct {
	KID     KID
	Payload []byte
	Sig     [signatureBytes]byte
	// Packet holds the bytes that were decoded; there is exactly one encoding.
	Packet []byte
	// Hashed tells whether the packet carries its own hash. Every client since
	// 1.0.17 writes it, and sig/get lets clients rebuild link packets with it.
	Hashed bool
}

// DecodeArmored turns standard padded base64 into bytes. Only the one canonical
// spelling is taken (no line breaks, no stray bits), so that bytes and text
// determine each other.
func DecodeArmored(s string, maxBytes int) ([]byte, error) {
	if len(s) > base64.StdEncoding.EncodedLen(maxBytes) {
		return nil, fmt.Errorf("armour of %d characters: %w", len(s), ErrPacket)
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("armour is not canonical base64: %w", ErrPacket)
	}
	return b, nil
}

// Armor is the inverse of DecodeArmored.
func Armor(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// DecodeArmoredSignature is DecodeSignature of base64.
func DecodeArmoredSignature(s string) (*Signature, error) {
	b, err := DecodeArmored(s, PacketBytesMax)
	if err != nil {
		return nil, err
	}
	return DecodeSignature(b)
}

// DecodeSignature decodes a tag 514 packet of the unprefixed kind, the only one
// that stands in sigchains, login proofs and ephemeral key statements. It takes
// less than clients do: the payload must be attached and not empty, the constant
// fields must have their constant values, and the key must be an EdDSA key that
// CheckSigningKey takes. The signature itself is checked by Verify.
// client: go/kbcrypto/nacl_sig_info.go:DecodeNaclSigInfoPacket
func DecodeSignature(packet []byte) (*Signature, error) {
	if len(packet) > PacketBytesMax {
		return nil, fmt.Errorf("packet of %d bytes: %w", len(packet), ErrPacket)
	}
	r := &msgpackReader{buf: packet}
	hashed := r.peek() == mpFixMap|4
	fields := 3
	if hashed {
		fields = 4
	}
	r.mapOf(fields, "packet")
	r.text("body")
	r.mapOf(6, "signature body")
	r.text("detached")
	detached := r.bool("detached")
	r.text("hash_type")
	hashType := r.uint(255, "hash_type")
	r.text("key")
	key := r.binOf(kidBytes, "key")
	r.text("payload")
	payload := r.bin(PayloadBytesMax, "payload")
	r.text("sig")
	sig := r.binOf(signatureBytes, "sig")
	r.text("sig_type")
	sigType := r.uint(255, "sig_type")
	hash, hashAt := readPacketHash(r, hashed)
	r.text("tag")
	tag := r.uint(1<<16, "tag")
	r.text("version")
	version := r.uint(255, "version")
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("signature packet: %w: %w", ErrPacket, err)
	}
	if tag != TagSignature || version != packetVersion {
		return nil, fmt.Errorf("packet with tag %d, version %d: %w", tag, version, ErrPacket)
	}
	if !detached || hashType != sigHashSHA512 || sigType != sigTypeEdDSA || len(payload) == 0 {
		return nil, fmt.Errorf("signature of an unknown kind: %w", ErrPacket)
	}
	if hashed && !packetHashOK(packet, hash, hashAt) {
		return nil, fmt.Errorf("packet hash does not match: %w", ErrPacket)
	}
	kid, err := KIDFromBytes(key)
	if err != nil {
		return nil, fmt.Errorf("signature packet: %w: %w", ErrPacket, err)
	}
	if err := CheckSigningKey(kid); err != nil {
		return nil, fmt.Errorf("signature packet: %w: %w", ErrPacket, err)
	}
	out := &Signature{KID: kid, Payload: bytes.Clone(payload), Packet: bytes.Clone(packet), Hashed: hashed}
	copy(out.Sig[:], sig)
	return out, nil
}

// readPacketHash consumes the optional hash map and says where its value begins.
func readPacketHash(r *msgpackReader, present bool) (value []byte, at int) {
	if !present {
		return nil, 0
	}
	r.text("hash")
	r.mapOf(2, "hash")
	r.text("type")
	if t := r.uint(255, "hash type"); r.err == nil && t != packetHashSHA2 {
		r.fail("hash type")
	}
	r.text("value")
	at = r.off
	return r.binOf(packetHashBytes, "hash value"), at
}

// packetHashOK hashes the packet with an empty value in place of the hash.
func packetHashOK(packet, hash []byte, at int) bool {
	h := sha256.New()
	h.Write(packet[:at])
	h.Write([]byte{mpBin8, 0})
	h.Write(packet[at+2+packetHashBytes:])
	return bytes.Equal(h.Sum(nil), hash)
}

// Verify checks the Ed25519 signature over the payload itself.
func (s *Signature) Verify() error {
	if !verifyEdDSA(s.KID, s.Payload, s.Sig[:]) {
		return fmt.Errorf("by %s: %w", s.KID, ErrSignature)
	}
	return nil
}

// ID is the signature's identifier: SHA-256 of the packet.
func (s *Signature) ID() SigIDBase { return sha256.Sum256(s.Packet) }

// OpenSignature decodes base64 and verifies in one step.
func OpenSignature(armored string) (*Signature, error) {
	s, err := DecodeArmoredSignature(armored)
	if err != nil {
		return nil, err
	}
	return s, s.Verify()
}

// EncodeSignature builds the packet stock clients of 1.0.17 and later build,
// with its hash. client: go/kbcrypto/kbpackets.go:EncodePacketToBytes
func EncodeSignature(kid KID, payload []byte, sig [signatureBytes]byte) []byte {
	body := make([]byte, 0, len(payload)+256)
	body = append(body, mpFixMap|6)
	body = appendBool(appendText(body, "detached"), true)
	body = appendUint(appendText(body, "hash_type"), sigHashSHA512)
	body = appendBin(appendText(body, "key"), kid[:])
	body = appendBin(appendText(body, "payload"), payload)
	body = appendBin(appendText(body, "sig"), sig[:])
	body = appendUint(appendText(body, "sig_type"), sigTypeEdDSA)
	return encodePacket(body, TagSignature)
}

func encodePacket(body []byte, tag uint64) []byte {
	frame := func(hash []byte) []byte {
		p := append(appendText([]byte{mpFixMap | 4}, "body"), body...)
		p = append(appendText(p, "hash"), mpFixMap|2)
		p = appendUint(appendText(p, "type"), packetHashSHA2)
		p = appendBin(appendText(p, "value"), hash)
		p = appendUint(appendText(p, "tag"), tag)
		return appendUint(appendText(p, "version"), packetVersion)
	}
	h := sha256.Sum256(frame(nil))
	return frame(h[:])
}

// SignPacket signs payload with an Ed25519 key and wraps it, payload attached, in
// the packet that clients take from links, statements and Merkle roots. The
// caller armours it.
func SignPacket(priv ed25519.PrivateKey, payload []byte) []byte {
	var sig [signatureBytes]byte
	copy(sig[:], ed25519.Sign(priv, payload))
	return EncodeSignature(KIDOfPrivate(priv), payload, sig)
}

// KIDOfPrivate names the public half of an Ed25519 key.
func KIDOfPrivate(priv ed25519.PrivateKey) KID {
	var raw [32]byte
	copy(raw[:], priv[32:])
	return NewKID(KIDTypeEdDSA, raw)
}

// Encryption is what a server reads of a NaCl box: who can open it and who made
// it. client: go/libkb/naclwrap.go:NaclEncryptionInfo
type Encryption struct {
	Receiver, Sender KID
	CiphertextBytes  int
}

// DecodeArmoredEncryption decodes a base64 tag 515 packet.
func DecodeArmoredEncryption(s string) (*Encryption, error) {
	b, err := DecodeArmored(s, BoxBytesMax+512)
	if err != nil {
		return nil, err
	}
	return DecodeEncryption(b)
}

// DecodeEncryption decodes a tag 515 packet and checks that both keys are
// Curve25519 keys that CheckEncryptionKey takes. The ciphertext stays opaque.
func DecodeEncryption(packet []byte) (*Encryption, error) {
	if len(packet) > BoxBytesMax+512 {
		return nil, fmt.Errorf("packet of %d bytes: %w", len(packet), ErrPacket)
	}
	r := &msgpackReader{buf: packet}
	r.mapOf(4, "packet")
	r.text("body")
	r.mapOf(5, "encryption body")
	r.text("ciphertext")
	ciphertext := r.bin(BoxBytesMax, "ciphertext")
	r.text("enc_type")
	encType := r.uint(255, "enc_type")
	r.text("nonce")
	r.binOf(boxNonceBytes, "nonce")
	r.text("receiver_key")
	receiver := r.binOf(kidBytes, "receiver_key")
	r.text("sender_key")
	sender := r.binOf(kidBytes, "sender_key")
	hash, hashAt := readPacketHash(r, true)
	r.text("tag")
	tag := r.uint(1<<16, "tag")
	r.text("version")
	version := r.uint(255, "version")
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("encryption packet: %w: %w", ErrPacket, err)
	}
	if tag != TagEncryption || version != packetVersion || encType != encTypeDH {
		return nil, fmt.Errorf("packet with tag %d, version %d: %w", tag, version, ErrPacket)
	}
	if len(ciphertext) == 0 || !packetHashOK(packet, hash, hashAt) {
		return nil, fmt.Errorf("packet hash or ciphertext: %w", ErrPacket)
	}
	out := &Encryption{CiphertextBytes: len(ciphertext)}
	copy(out.Receiver[:], receiver)
	copy(out.Sender[:], sender)
	for _, kid := range []KID{out.Receiver, out.Sender} {
		if err := CheckEncryptionKey(kid); err != nil {
			return nil, fmt.Errorf("encryption packet: %w: %w", ErrPacket, err)
		}
	}
	return out, nil
}

// EncodeEncryption builds the packet around a NaCl box, as clients do.
// client: go/libkb/naclwrap.go:Encrypt
func EncodeEncryption(receiver, sender KID, nonce [boxNonceBytes]byte, ciphertext []byte) []byte {
	body := append([]byte{mpFixMap | 5}, appendText(nil, "ciphertext")...)
	body = appendBin(body, ciphertext)
	body = appendUint(appendText(body, "enc_type"), encTypeDH)
	body = appendBin(appendText(body, "nonce"), nonce[:])
	body = appendBin(appendText(body, "receiver_key"), receiver[:])
	body = appendBin(appendText(body, "sender_key"), sender[:])
	return encodePacket(body, TagEncryption)
}
