package sigchain

import (
	"github.com/keystead/keystead/compat/kbsig"
)

// encodeStatements writes the part of a state that version 2 added.
func (s *State) encodeStatements(w *writer) {
	w.uint(uint64(len(s.Proofs)))
	for i := range s.Proofs {
		s.Proofs[i].encode(w)
	}
	w.uint(uint64(len(s.Currencies)))
	for i := range s.Currencies {
		s.Currencies[i].encode(w)
	}
	for _, list := range [][]Vouch{s.Vouches, s.Reactions} {
		w.uint(uint64(len(list)))
		for i := range list {
			list[i].encode(w)
		}
	}
	w.bool(s.Wallet != nil)
	if s.Wallet != nil {
		s.Wallet.encode(w)
	}
}

func (s *State) decodeStatements(r *reader) {
	s.Proofs = readList(r, (*Proof).decode)
	s.Currencies = readList(r, (*CurrencyAddress).decode)
	s.Vouches = readList(r, (*Vouch).decode)
	s.Reactions = readList(r, (*Vouch).decode)
	if r.bool("wallet") {
		s.Wallet = &Wallet{}
		s.Wallet.decode(r)
	}
}

func (t *Said) encode(w *writer) {
	w.seqno(int64(t.Seqno))
	w.raw(t.SigID[:])
}

func (t *Said) decode(r *reader) {
	t.Seqno = kbsig.Seqno(r.int("statement"))
	r.raw(t.SigID[:], "statement")
}

func (p *Proof) encode(w *writer) {
	p.Said.encode(w)
	w.raw(p.Link[:])
	w.int(p.Ctime)
	w.bool(p.Superseded)
	w.string(p.Name)
	w.string(p.Username)
	w.string(p.Protocol)
	w.string(p.Host)
}

func (p *Proof) decode(r *reader) {
	p.Said.decode(r)
	r.raw(p.Link[:], "proof link")
	p.Ctime = r.int("proof ctime")
	p.Superseded = r.bool("proof")
	p.Name, p.Username = string(r.bytes("service")), string(r.bytes("name at a service"))
	p.Protocol, p.Host = string(r.bytes("protocol")), string(r.bytes("host"))
}

func (c *CurrencyAddress) encode(w *writer) {
	c.Said.encode(w)
	w.string(string(c.Kind))
	w.string(c.Address)
}

func (c *CurrencyAddress) decode(r *reader) {
	c.Said.decode(r)
	c.Kind, c.Address = Currency(r.bytes("currency")), string(r.bytes("currency address"))
}

func (v *Vouch) encode(w *writer) {
	v.Said.encode(w)
	w.raw(v.Expansion[:])
}

func (v *Vouch) decode(r *reader) {
	v.Said.decode(r)
	r.raw(v.Expansion[:], "expansion")
}

func (v *Wallet) encode(w *writer) {
	v.Said.encode(w)
	w.string(v.Address)
	w.string(v.Name)
	w.raw(v.KID[:])
}

func (v *Wallet) decode(r *reader) {
	v.Said.decode(r)
	v.Address, v.Name = string(r.bytes("wallet")), string(r.bytes("wallet name"))
	r.raw(v.KID[:], "wallet key")
}
