package teamchain

import (
	"bytes"
	"encoding/base64"
	"testing"
)

// Whatever is posted, reading it ends with a link or a refusal; a link that was read is
// read again, the same, from its record.
func FuzzParse(f *testing.F) {
	h := &hand{world: newWorld(1, 6), tag: "z"}
	for range 40 {
		ds := h.step()
		for _, d := range ds {
			p := d.sign()
			raw, _ := base64.StdEncoding.DecodeString(p.Sig)
			f.Add(raw, []byte(p.SigInner))
		}
		if err := h.post(ds...); len(ds) > 0 && err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, packet, inner []byte) {
		l, err := parseLink(packet, inner)
		if err != nil {
			if KindOf(err) == KindNone {
				t.Fatalf("an error that is no refusal: %v", err)
			}
			return
		}
		rec := l.Record()
		again, err := DecodeRecord(rec.Encode())
		if err != nil || !bytes.Equal(again.Packet, packet) || !bytes.Equal(again.Inner, inner) {
			t.Fatalf("the record is another: %v", err)
		}
		if m, err := again.Link(); err != nil || m.ID != l.ID {
			t.Fatalf("read again: %v", err)
		}
	})
}

// Records and heads of states that were damaged are refused, never taken for others.
func FuzzDecode(f *testing.F) {
	h := &hand{world: newWorld(2, 4), tag: "y"}
	if err := h.post(h.create()...); err != nil {
		f.Fatal(err)
	}
	for _, s := range h.teams {
		f.Add(s.header)
		f.Add(s.records[0].Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRecord(b); err == nil {
			if again, err := DecodeRecord(r.Encode()); err != nil || !bytes.Equal(again.Encode(), r.Encode()) {
				t.Fatal("a record that does not decode again")
			}
		}
		_, _ = Decode(b, NoRows{})
	})
}
