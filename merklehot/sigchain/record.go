package sigchain

import (
	"bytes"
	"fmt"

	"github.com/keystead/keystead/compat/kbsig"
)

// recordVersion leads every encoded record.
const recordVersion = 1

// Record is a link as it is kept: the bytes that were received, nothing derived.
type Record struct {
	Packet []byte // signature packet
	Inner  []byte // inner JSON of a v2 link; empty for v1, whose packet has it
}

// Record is the link's stored form.
func (l *Link) Record() Record {
	r := Record{Packet: l.sig.Packet}
	if l.Version == 2 {
		r.Inner = l.inner
	}
	return r
}

// Encode writes the stored form.
func (r Record) Encode() []byte {
	w := writer{b: make([]byte, 0, len(r.Packet)+len(r.Inner)+16)}
	w.version(recordVersion)
	w.bytes(r.Packet)
	w.bytes(r.Inner)
	return w.b
}

// DecodeRecord reads what Encode wrote. The result has its own memory.
func DecodeRecord(b []byte) (Record, error) {
	r := reader{b: b}
	if v := r.uint("record"); r.err == nil && v != recordVersion {
		return Record{}, refuse(KindCorrupt, "record of version %d", v)
	}
	out := Record{Packet: bytes.Clone(r.bytes("packet")), Inner: bytes.Clone(r.bytes("inner link"))}
	return out, r.end("record")
}

// Link reads and verifies a record again, as if it had just been posted.
func (r Record) Link() (*Link, error) {
	return parseLink(r.Packet, r.Inner)
}

// Entry is the record's element in a sig/get reply, without verifying signatures
// again; a stub if asked for one and clients take one of this type.
func (r Record) Entry(stub bool) (kbsig.WireEntry, error) {
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
