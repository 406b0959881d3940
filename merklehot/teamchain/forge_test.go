package teamchain

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
)

// forge changes what is posted in a way for which nobody signed, and says which.
func (h *hand) forge(good []Posted, at int) ([]Posted, string) {
	ps := slices.Clone(good)
	p := &ps[at]
	if len(h.teams) == 0 {
		return ps, h.forgeSig(p)
	}
	switch h.rng.IntN(12) {
	case 0, 1, 2:
		return ps, h.forgeSig(p)
	case 3:
		b := []byte(p.SigInner)
		i := h.rng.IntN(len(b))
		b[i] ^= 1 << h.rng.IntN(8)
		p.SigInner = string(b)
		return ps, "a bit of the text"
	case 4:
		return ps, h.forgeText(p)
	case 5:
		return ps, h.forgeItem(p)
	case 6: // the text of a link that stands
		from := h.posted()
		if from.SigInner == p.SigInner {
			return ps, ""
		}
		p.SigInner = from.SigInner
		return ps, "the text of another link"
	case 7:
		from := h.posted()
		p.Sig, p.SigningKID = from.Sig, from.SigningKID
		return ps, "the signature of another link"
	case 8: // a link that stands, again
		*p = h.posted()
		return ps, "a link again"
	case 9: // another link that stands, said to be of this team
		team := p.TeamID
		*p = h.posted()
		p.TeamID = team
		return ps, "a link of another team"
	case 10:
		return slices.Insert(ps, at, h.posted()), "a link again before it"
	}
	switch {
	case h.rng.IntN(2) == 0:
		return slices.Insert(ps, at, *p), "twice"
	case len(ps) < 2:
		return ps, ""
	case h.rng.IntN(2) == 0:
		slices.Reverse(ps)
		return ps, "the other way round"
	}
	return slices.Delete(ps, at, at+1), "without its other half"
}

// posted is a link that stands, as it was posted; there must be one.
func (h *hand) posted() Posted {
	for {
		s := h.teams[pick(h.world, h.all)]
		if s == nil {
			continue
		}
		r := pick(h.world, s.records)
		l := must(r.Link())
		return Posted{
			Sig: base64.StdEncoding.EncodeToString(r.Packet), SigInner: string(r.Inner), SigningKID: l.KID.String(),
			Type: l.Type.TeamName(), TeamID: l.Team.String(), SeqType: l.SeqType, Version: 2,
		}
	}
}

// order of the group that signatures are numbers of.
var order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// forgeSig changes the packet.
func (h *hand) forgeSig(p *Posted) string {
	b, _ := base64.StdEncoding.DecodeString(p.Sig)
	i := h.rng.IntN(len(b))
	what := "a bit of the signature"
	switch h.rng.IntN(16) {
	default:
		b[i] ^= 1 << h.rng.IntN(8)
	case 0:
		b, what = b[:i], "a signature that is cut"
	case 1:
		b, what = append(b, byte(h.rng.Uint32())), "a signature and more"
	case 2:
		b, what = slices.Insert(b, i, pick(h.world, []byte{0xcc, 0xd0, 0xc0, 0, 0xd9, 0xa1, b[i]})), "a byte inside the signature"
	case 3:
		b, what = slices.Delete(b, i, i+1), "a byte less of the signature"
	case 4, 5, 6, 7: // in a packet that holds together
		sig, err := kbsig.DecodeSignature(b)
		if err != nil {
			return ""
		}
		switch h.rng.IntN(4) {
		case 0: // the same equation with another number: only strict verifiers see it
			number := sig.Sig[32:]
			slices.Reverse(number)
			new(big.Int).Add(new(big.Int).SetBytes(number), order).FillBytes(number)
			slices.Reverse(number)
		case 1:
			sig.KID = kbsig.KIDOfPrivate(pick(h.world, h.people).key)
		case 2:
			sig.Payload[h.rng.IntN(len(sig.Payload))] ^= 1 << h.rng.IntN(8)
		case 3:
			sig.Sig[h.rng.IntN(64)] ^= 1 << h.rng.IntN(8)
		}
		b, what = kbsig.EncodeSignature(sig.KID, sig.Payload, sig.Sig), "another signature"
	}
	p.Sig = base64.StdEncoding.EncodeToString(b)
	return what
}

// forgeText writes the same text, or the same bytes of the packet, otherwise.
func (h *hand) forgeText(p *Posted) string {
	switch h.rng.IntN(7) {
	case 0:
		p.SigInner += "\n"
	case 1:
		p.SigInner = " " + p.SigInner
	case 2:
		p.SigInner = strings.Replace(p.SigInner, `"team"`, `"Team"`, 1)
	case 3:
		p.SigInner = strings.Replace(p.SigInner, `,"version":2`, `,"version":2,"version":2`, 1)
	case 4:
		p.SigInner = strings.ToUpper(p.SigInner)
	case 5:
		p.Sig = strings.TrimRight(p.Sig, "=") + "===="
	case 6:
		p.Sig = base64.RawURLEncoding.EncodeToString([]byte(p.Sig))
	}
	return "the text written otherwise"
}

// forgeItem changes what is said beside the link.
func (h *hand) forgeItem(p *Posted) string {
	before := *p
	switch h.rng.IntN(5) {
	case 0:
		p.TeamID = pick(h.world, h.all).String()
	case 1:
		p.SigningKID = kbsig.KIDOfPrivate(pick(h.world, h.people).key).String()
	case 2:
		p.Type = kbsig.LinkType(33 + h.rng.IntN(16)).TeamName()
	case 3:
		p.SeqType = pick(h.world, []int{1, 2, 3, 4, 16, 17, -1})
	case 4:
		p.Version = pick(h.world, []int{1, 3, -1, 1 << 30})
	}
	if *p == before {
		return ""
	}
	return fmt.Sprintf("item of type %.20q", p.Type)
}
