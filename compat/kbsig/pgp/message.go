package pgp

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keybase/go-crypto/openpgp"
	"github.com/keybase/go-crypto/openpgp/armor"
	"github.com/keybase/go-crypto/openpgp/packet"

	"github.com/keystead/keystead/compat/kbsig"
)

const messageStart = "-----BEGIN PGP MESSAGE-----"

// IsMessage reports that a signature is a PGP message, not a packet.
// client: go/libkb/sig.go:IsPGPSig
func IsMessage(sig string) bool { return strings.HasPrefix(sig, messageStart) }

// Message is a signed message with its payload inside. client: go/libkb/sig.go:ParsedSig
type Message struct {
	Armored string // as posted
	ID      kbsig.SigIDBase
	Payload []byte

	body []byte
}

// ParseMessage reads an armoured message: one signature around one literal text, which
// may be compressed. It verifies nothing. client: go/libkb/sig.go:SigExtractPGPPayload
func ParseMessage(armored string) (m *Message, err error) {
	defer guard(&err, ErrMessage)
	clean, err := dearm(armored, "MESSAGE", MessageBytesMax)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	block, err := armor.Decode(strings.NewReader(clean))
	if err != nil {
		return nil, fmt.Errorf("%w: armour: %w", ErrMessage, err)
	}
	body, err := io.ReadAll(block.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: armour: %w", ErrMessage, err)
	}
	if err := checkShape(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	// Now that its size is known, the payload is read as clients read it.
	md, err := openpgp.ReadMessage(bytes.NewReader(body), openpgp.EntityList{}, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	payload, err := io.ReadAll(io.LimitReader(md.UnverifiedBody, kbsig.PayloadBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if len(payload) == 0 || len(payload) > kbsig.PayloadBytesMax {
		return nil, fmt.Errorf("%w: payload of %d bytes", ErrMessage, len(payload))
	}
	return &Message{Armored: armored, ID: sha256.Sum256(body), Payload: payload, body: body}, nil
}

// checkShape walks the packets: compression at most, then the announcement of one
// signature, one literal, that signature, and the end.
func checkShape(body []byte) error {
	var in io.Reader = bytes.NewReader(body)
	for layer := 0; ; layer++ {
		p, err := packet.Read(in)
		if err != nil {
			return err
		}
		c, ok := p.(*packet.Compressed)
		if !ok {
			return checkSigned(p, in)
		}
		if layer >= layersMax {
			return errors.New("compressed too often")
		}
		inner, err := io.ReadAll(io.LimitReader(c.Body, MessageBytesMax+1))
		if err != nil {
			return err
		}
		if len(inner) > MessageBytesMax {
			return fmt.Errorf("more than %d bytes when unpacked", MessageBytesMax)
		}
		in = bytes.NewReader(inner)
	}
}

func checkSigned(first packet.Packet, in io.Reader) error {
	if _, ok := first.(*packet.OnePassSignature); !ok {
		return errors.New("not signed")
	}
	p, err := packet.Read(in)
	if err != nil {
		return err
	}
	lit, ok := p.(*packet.LiteralData)
	if !ok {
		return errors.New("the text does not follow the signature's announcement")
	}
	if _, err := io.Copy(io.Discard, lit.Body); err != nil {
		return err
	}
	if p, err = packet.Read(in); err != nil {
		return err
	}
	switch p.(type) {
	case *packet.Signature, *packet.SignatureV3:
	default:
		return errors.New("the signature does not follow the text")
	}
	if _, err := packet.Read(in); !errors.Is(err, io.EOF) {
		return errors.New("something follows the signature")
	}
	return nil
}

// Verify checks that k, in just this version, signed the message: its primary key or a
// subkey that may sign, neither revoked. client: go/libkb/sig.go:ParsedSig.Verify
func (m *Message) Verify(k *Key) (err error) {
	defer guard(&err, kbsig.ErrSignature)
	fail := func(why any) error { return fmt.Errorf("by PGP key %s: %v: %w", k.KID, why, kbsig.ErrSignature) }
	md, err := openpgp.ReadMessage(bytes.NewReader(m.body), openpgp.EntityList{k.entity}, nil, nil)
	if err != nil {
		return fail(err)
	}
	if !md.IsSigned || md.SignedBy == nil {
		return fail("not signed by a key of it that may sign")
	}
	payload, err := io.ReadAll(io.LimitReader(md.UnverifiedBody, kbsig.PayloadBytesMax+1))
	if err != nil {
		return fail(err)
	}
	switch {
	case md.SignatureError != nil:
		return fail(md.SignatureError)
	case md.Signature == nil && md.SignatureV3 == nil:
		return fail("no signature")
	case !bytes.Equal(payload, m.Payload):
		return fail("another payload")
	}
	return nil
}
