package sigchain

import (
	"bytes"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/kbsig/pgp"
)

// recordVersion leads every encoded record; recordWithKey those that bring a PGP key.
const (
	recordVersion = 1
	recordWithKey = 2
)

// Record is a link as it is kept: the bytes that were received, nothing derived.
type Record struct {
	Packet []byte // signature packet, or armoured PGP message
	Inner  []byte // inner JSON of a v2 link; empty for v1, whose packet has it
	Bundle []byte // armoured PGP key that came with the link, if it adds one
}

// Record is the link's stored form.
func (l *Link) Record() Record {
	r := Record{Packet: l.packet}
	if l.Version == 2 {
		r.Inner = l.inner
	}
	if l.bundle != nil {
		r.Bundle = []byte(l.bundle.Bundle)
	}
	return r
}

// Encode writes the stored form.
func (r Record) Encode() []byte {
	w := writer{b: make([]byte, 0, len(r.Packet)+len(r.Inner)+len(r.Bundle)+16)}
	version := uint64(recordVersion)
	if len(r.Bundle) > 0 {
		version = recordWithKey
	}
	w.version(version)
	w.bytes(r.Packet)
	w.bytes(r.Inner)
	if version == recordWithKey {
		w.bytes(r.Bundle)
	}
	return w.b
}

// DecodeRecord reads what Encode wrote. The result has its own memory.
func DecodeRecord(b []byte) (Record, error) {
	r := reader{b: b}
	v := r.uint("record")
	if r.err == nil && v != recordVersion && v != recordWithKey {
		return Record{}, refuse(KindCorrupt, "record of version %d", v)
	}
	out := Record{Packet: bytes.Clone(r.bytes("packet")), Inner: bytes.Clone(r.bytes("inner link"))}
	if v == recordWithKey {
		if out.Bundle = bytes.Clone(r.bytes("key")); len(out.Bundle) == 0 {
			r.fail("key")
		}
	}
	return out, r.end("record")
}

// Link reads and verifies a record again, as if it had just been posted.
func (r Record) Link() (*Link, error) {
	return parseLink(r.Packet, r.Inner, string(r.Bundle))
}

// Entry is the record's element in a sig/get reply, without verifying signatures
// again; a stub if asked for one and clients take one of this type.
func (r Record) Entry(stub bool) (kbsig.WireEntry, error) {
	if pgp.IsMessage(string(r.Packet)) {
		return r.pgpEntry()
	}
	sig, err := kbsig.DecodeSignature(r.Packet)
	if err != nil {
		return kbsig.WireEntry{}, refuse(KindCorrupt, "record: %w", err)
	}
	if len(r.Inner) == 0 {
		return kbsig.EntryV1(sig), nil
	}
	outer, err := kbsig.DecodeOuter(sig.Payload)
	if err != nil {
		return kbsig.WireEntry{}, refuse(KindCorrupt, "record: %w", err)
	}
	if kbsig.LinkIDOf(r.Inner) != outer.Curr {
		return kbsig.WireEntry{}, refuse(KindCorrupt, "record whose inner link is not the one signed")
	}
	if stub && outer.Type.Stubbable() {
		return kbsig.EntryStub(sig), nil
	}
	return kbsig.EntryV2(sig, outer, r.Inner), nil
}

// Replay plays a chain again from its records and its resets, each of which comes after
// the link that it names, verifying everything anew, and returns the state that it leads
// to. Errors name the link.
func Replay(uid kbsig.UID, name kbsig.Username, records []Record, resets []*ResetLink, env Env) (*State, error) {
	st := NewState(uid, name)
	env = replayEnv{env, records}
	var err error
	for i := 0; ; i++ {
		for len(resets) > 0 && resets[0].Tail <= st.Tail {
			if st, err = st.ApplyReset(resets[0], env); err != nil {
				return nil, fmt.Errorf("reset of %s: %w", uid, err)
			}
			resets = resets[1:]
		}
		if i == len(records) {
			break
		}
		l, err := records[i].Link()
		if err != nil {
			return nil, fmt.Errorf("link %d of %s: %w", i+1, uid, err)
		}
		if st, err = st.Apply(l, env); err != nil {
			return nil, fmt.Errorf("link %d of %s: %w", i+1, uid, err)
		}
	}
	if len(resets) > 0 {
		return nil, refuse(KindOrder, "reset of %s after link %d, the chain has %d", uid, resets[0].Tail, st.Tail)
	}
	return st, nil
}
