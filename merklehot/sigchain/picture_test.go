package sigchain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/keystead/keystead/compat/kbsig"
)

// Chains as pictures: each file tells stories of links, one a line, and what the
// server says to them.
//
//	user alice                       a new account in a new world
//	post [boxes=…] [lease=…]         one request, a link a line:
//	    eldest A name=home.computer  (a dot is a space)
//	    sibkey B by=A name=phone type=mobile
//	    subkey B | puk P1 by=A gen=1 | revoke B by=A type=mobile
//	    track bob by=A | untrack bob by=A | revokesig bob by=A
//	    proof twitter:bob by=A | proof https:example.org by=A | revokelink 7 by=A
//	    currency 1Address by=A kind=bitcoin | wallet W by=A | rename A by=A name=x
//	    vouch v1 by=A | react r1 by=A      what they stand for is not in the chain
//	    options of proof, currency and vouch: instead=7, a link by its seqno
//	    options of every link: v= seqno= prev= ctime= root= eldest= user= skip=
//	apply                            the same without the rules of requests
//	again                            the last request once more
//	reset                            the account is reset
//	delete                           the account is deleted
//	take A                           somebody else has the keys of A
//	wait 25h                         time passes, without a root
//	replay                           everything anew from the records
func TestChainPictures(t *testing.T) {
	datadriven.Walk(t, "testdata/chains", func(t *testing.T, path string) {
		var p *picture
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "user" {
				p = &picture{world: newWorld(t, d.CmdArgs[0].Key), labels: map[string]string{}}
				return ""
			}
			return p.run(t, d)
		})
	})
}

type picture struct {
	*world
	labels  map[string]string // ids that occur in messages
	last    []*Link
	reading []*Link // of the request being read
}

func (p *picture) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "post":
		links, err := p.read(d.Input)
		if err == nil {
			var next *State
			if next, err = CheckBatch(p.st, links, p.extras(d, links), p); err == nil {
				p.accept(next, links)
				p.last = links
			}
		}
		return p.say(err)
	case "apply":
		links, err := p.read(d.Input)
		next := p.st
		for i := 0; err == nil && i < len(links); i++ {
			next, err = next.Apply(links[i], p)
		}
		if err == nil {
			p.accept(next, links)
			p.last = links
		}
		return p.say(err)
	case "again":
		again, err := AlreadyPosted(p.st, p.last, p.record)
		return fmt.Sprintf("repeat: %v %v\n", again, err)
	case "reset":
		return p.say(p.reset(KindReset))
	case "delete":
		return p.say(p.reset(KindDelete))
	case "take":
		for _, a := range d.CmdArgs {
			p.taken[signKID(a.Key)], p.taken[encKID(a.Key)] = true, true
		}
		return ""
	case "wait":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		p.now = p.now.Add(dur)
		return ""
	case "replay":
		st, err := Replay(p.st.UID, p.st.Username, p.records, p.resets, p.replayEnv())
		if err != nil {
			return p.say(err)
		}
		return fmt.Sprintf("same state: %v\n", string(st.Encode()) == string(p.st.Encode()))
	}
	t.Fatalf("%s: no such command %s", d.Pos, d.Cmd)
	return ""
}

// say describes the state, or the refusal with ids turned back into labels.
func (p *picture) say(err error) string {
	if err != nil {
		msg := err.Error()
		for id, label := range p.labels {
			msg = strings.ReplaceAll(msg, id, label)
		}
		var e *Error
		if !errors.As(err, &e) {
			return "error " + msg + "\n"
		}
		return fmt.Sprintf("refused %s: %s\n", e.Kind, msg)
	}
	s := p.st
	var devices, follows []string
	for _, dev := range s.ActiveDevices() {
		label := p.labels[dev.ID.String()]
		if dev.Subkey.IsZero() {
			label += "(no subkey)"
		}
		devices = append(devices, label)
	}
	for _, f := range s.Followees() {
		follows = append(follows, string(f.Username))
	}
	out := fmt.Sprintf("link %d, incarnation %d from %d, devices [%s], generation %d", s.Tail, s.Incarnation, s.EldestSeqno,
		strings.Join(devices, " "), s.PUKGeneration())
	if len(follows) > 0 {
		out += ", follows " + strings.Join(follows, " ")
	}
	if s.Resets.Seqno > 0 {
		out += fmt.Sprintf(", reset %d", s.Resets.Seqno)
	}
	if s.Deleted {
		out += ", deleted"
	}
	return out + statementsOf(s) + "\n"
}

// statementsOf lists what somebody says and has not taken back, by link.
func statementsOf(s *State) string {
	out := ""
	for _, v := range s.Proofs {
		out += fmt.Sprintf(", proof %d %s%s", v.Seqno, v.Key(), v.Username)
		if v.Superseded {
			out += " (past)"
		}
	}
	for _, v := range s.Currencies {
		out += fmt.Sprintf(", %s %d", v.Kind, v.Seqno)
	}
	for _, v := range s.Vouches {
		out += fmt.Sprintf(", vouch %d", v.Seqno)
	}
	for _, v := range s.Reactions {
		out += fmt.Sprintf(", reaction %d", v.Seqno)
	}
	if s.Wallet != nil {
		out += fmt.Sprintf(", wallet %d", s.Wallet.Seqno)
	}
	return out
}

// line is a link in the picture language: words and options.
type line struct {
	kind, who string
	opt       map[string]string
}

func parseLine(s string) line {
	f := strings.Fields(s)
	l := line{kind: f[0], who: f[1], opt: map[string]string{}}
	for _, o := range f[2:] {
		k, v, _ := strings.Cut(o, "=")
		l.opt[k] = v
	}
	return l
}

func (l line) get(key, otherwise string) string {
	if v, ok := l.opt[key]; ok {
		return strings.ReplaceAll(v, ".", " ")
	}
	return otherwise
}

func (p *picture) label(names ...string) {
	for _, n := range names {
		p.labels[signKID(n).String()], p.labels[encKID(n).String()] = n, n+".enc"
		p.labels[deviceID(n).String()] = n
	}
	for _, n := range []string{"alice", "bob", "carol", "dave"} {
		p.labels[kbsig.UIDOf(kbsig.Username(n)).String()] = n
	}
}

func (p *picture) read(input string) ([]*Link, error) {
	seqno, prev, el := p.st.Tail, p.st.TailLink, p.st.Eldest
	var out []*Link
	p.reading = nil
	for _, text := range strings.Split(input, "\n") {
		ln := parseLine(text)
		d := p.draft(ln)
		if d.typ == "eldest" {
			el = signKID(d.by)
		}
		l, err := Parse(p.sign(d, seqno+1, prev, el))
		if err != nil {
			return nil, err
		}
		p.labels[l.ID.String()] = fmt.Sprintf("<%d>", l.Seqno)
		p.labels[l.SigID.String()] = fmt.Sprintf("<sig %d>", l.Seqno)
		seqno, prev = l.Seqno, l.ID
		out = append(out, l)
		p.reading = out
	}
	return out, nil
}

func (p *picture) draft(ln line) *draft {
	by := ln.get("by", ln.who)
	p.label(ln.who, by)
	var d *draft
	switch ln.kind {
	case "eldest":
		d = eldest(ln.who, ln.get("name", "device "+ln.who))
	case "sibkey":
		d = sibkey(ln.who, by, ln.get("name", "device "+ln.who), ln.get("type", "desktop"))
	case "subkey":
		d = subkey(ln.who)
		d.by = by
	case "puk":
		gen, _ := strconv.ParseInt(ln.get("gen", "1"), 10, 64)
		d = perUserKey(ln.who, by, gen)
	case "revoke":
		d = revokeDevice(ln.who, by, ln.get("type", "desktop"))
	case "track":
		d = track(ln.who, by)
	case "untrack":
		d = untrack(ln.who, by)
	case "revokesig":
		t, _ := p.st.Follows(kbsig.UIDOf(kbsig.Username(ln.who)))
		d = revokeSig(by, t.SigID)
	case "revokelink": // a signature by its seqno
		d = revokeSig(by, p.sigOf(ln.who))
	default:
		d = p.statement(ln, by)
	}
	if v := ln.get("v", ""); v != "" {
		d.v, _ = strconv.Atoi(v)
	}
	d.edit = func(inner obj) { p.bend(ln, inner) }
	return d
}

// sigOf is the signature of a link by its seqno.
func (p *picture) sigOf(seqno string) kbsig.SigIDBase {
	n, _ := strconv.Atoi(seqno)
	l, err := p.records[n-1].Link()
	if err != nil {
		p.t.Fatal(err)
	}
	return l.SigID
}

// statement is a draft of what somebody says about oneself or others.
func (p *picture) statement(ln line, by string) *draft {
	var instead []kbsig.SigIDBase
	if n := ln.get("instead", ""); n != "" {
		instead = append(instead, p.sigOf(n))
	}
	switch ln.kind {
	case "proof":
		service, name, _ := strings.Cut(ln.who, ":")
		switch service {
		case "http", "https":
			return site(service+":", name, by)
		case "dns":
			return site(service, name, by)
		}
		return social(service, name, by, instead...)
	case "currency":
		return currency(strings.ReplaceAll(ln.get("kind", "bitcoin"), " ", "."), ln.who, by, instead...)
	case "wallet":
		return wallet(ln.who, by)
	case "vouch":
		return vouchFor(ln.who, by, instead...)
	case "react":
		return reactTo(ln.who, by)
	case "rename":
		return rename(ln.who, by, ln.get("name", "x"), ln.get("type", "desktop"))
	}
	p.t.Fatalf("no such link: %s", ln.kind)
	return nil
}

// bend applies the options that make a link wrong.
func (p *picture) bend(ln line, inner obj) {
	body := inner["body"].(obj)
	for k, v := range ln.opt {
		switch k {
		case "seqno":
			n, _ := strconv.ParseInt(v, 10, 64)
			inner["seqno"] = n
			if n > 1 && inner["prev"] == nil {
				inner["prev"] = strings.Repeat("ab", 32)
			}
		case "prev":
			inner["prev"] = strings.Repeat(v, 32)
		case "ctime":
			dur, err := time.ParseDuration(v)
			if err != nil {
				p.t.Fatal(err)
			}
			inner["ctime"] = p.now.Add(dur).Unix()
		case "root":
			p.quote(v, body["merkle_root"].(obj))
		case "eldest":
			body["key"].(obj)["eldest_kid"] = signKID(v).String()
		case "user":
			body["key"].(obj)["username"] = v
			body["key"].(obj)["uid"] = kbsig.UIDOf(kbsig.Username(v)).String()
		case "device":
			body["device"].(obj)["id"] = deviceID(v).String()
		case "nodevice":
			delete(body, "device")
		case "kids":
			var list []any
			for _, s := range strings.Split(v, ",") {
				if base, ok := strings.CutSuffix(s, "+"); ok {
					list = append(list, encKID(base).String())
				} else {
					list = append(list, signKID(s).String())
				}
			}
			body["revoke"].(obj)["kids"] = list
		case "skip":
			if n, _ := strconv.Atoi(v); n > 0 {
				inner["high_skip"] = obj{"seqno": n, "hash": p.linkID(n)}
			} else {
				inner["high_skip"] = obj{"seqno": 0, "hash": nil}
			}
		}
	}
}

func (p *picture) linkID(n int) string {
	if n > len(p.records) {
		return p.reading[n-1-len(p.records)].ID.String()
	}
	l, err := p.records[n-1].Link()
	if err != nil {
		p.t.Fatal(err)
	}
	return l.ID.String()
}

// quote makes the link quote another root: "old", "next" or "forged".
func (p *picture) quote(v string, root obj) {
	switch v {
	case "old":
		r := p.roots[0]
		root["seqno"], root["ctime"] = int64(r.Seqno), r.Ctime
		root["hash"], root["hash_meta"] = r.NodeHash.String(), r.HashMeta.String()
	case "next":
		root["seqno"] = int64(len(p.roots) + 1)
	case "forged":
		root["hash_meta"] = strings.Repeat("ab", 32)
	}
}

// extras gives what should come with the links, unless options say otherwise:
// boxes=none, boxes=gen:sender:receiver,receiver; lease=none, next, other.
func (p *picture) extras(d *datadriven.TestData, links []*Link) Extras {
	x := Extras{PUK: p.rightBoxes(links)}
	var how string
	if d.MaybeScanArgs(p.t.(*testing.T), "boxes", &how) {
		x.PUK = nil
		if how != "none" {
			f := strings.Split(how, ":")
			gen, _ := strconv.ParseInt(f[0], 10, 64)
			x.PUK = boxes(gen, f[1], strings.Split(f[2], "+")...)
		}
	}
	if d.HasArg("noprev") {
		x.PUK.Prev = ""
	}
	if l := links[len(links)-1]; l.Revoke != nil {
		x.Lease = p.leaseFor(l)
		if d.MaybeScanArgs(p.t.(*testing.T), "lease", &how) {
			switch how {
			case "none":
				x.Lease = nil
			case "next":
				x.Lease.Root++
			case "other":
				x.Lease.KIDs, x.Lease.SigIDs = nil, nil
			}
		}
	}
	return x
}

func (p *picture) rightBoxes(links []*Link) *PUKExtra {
	next, sender := p.st, ""
	for _, l := range links {
		n, err := next.Apply(l, p)
		if err != nil {
			return nil
		}
		next, sender = n, p.labels[l.KID.String()]
	}
	rolled := next.PUKGeneration() != p.st.PUKGeneration()
	var to []string
	switch l := links[0]; {
	case rolled:
		for _, kid := range next.ActiveEncryptionKIDs() {
			to = append(to, strings.TrimSuffix(p.labels[kid.String()], ".enc"))
		}
	case l.Type == kbsig.LinkSibkey && next.PUKGeneration() > 0:
		to, sender = []string{p.labels[l.Key.String()]}, p.labels[l.KID.String()]
	default:
		return nil
	}
	x := boxes(next.PUKGeneration(), sender, to...)
	if !rolled {
		x.Prev = ""
	}
	return x
}
