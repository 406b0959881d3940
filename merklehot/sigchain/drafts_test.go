package sigchain

import (
	"encoding/base32"

	"github.com/keystead/keystead/compat/kbsig"
)

// The drafts here are statements about oneself and others.

func proofOf(by string, service obj, instead ...kbsig.SigIDBase) *draft {
	service["entropy"] = entropy()
	return &draft{typ: "web_service_binding", by: by, v: 2, body: withRevoke(obj{"service": service}, instead)}
}

func social(name, username, by string, instead ...kbsig.SigIDBase) *draft {
	return proofOf(by, obj{"name": name, "username": username}, instead...)
}

func site(protocol, host, by string) *draft {
	if protocol == "dns" {
		return proofOf(by, obj{"protocol": protocol, "domain": host})
	}
	return proofOf(by, obj{"protocol": protocol, "hostname": host})
}

func withRevoke(body obj, instead []kbsig.SigIDBase) obj {
	if len(instead) > 0 {
		body["revoke"] = obj{"sig_id": instead[0].SigID()}
	}
	return body
}

func currency(kind, address, by string, instead ...kbsig.SigIDBase) *draft {
	return &draft{typ: "cryptocurrency", by: by, v: 2, body: withRevoke(obj{
		"cryptocurrency": obj{"address": address, "type": kind, "entropy": entropy()}}, instead)}
}

// stellarAccount names the account of a label's key.
func stellarAccount(label string) string {
	k := signKID(label)
	raw := append([]byte{stellarAccountVersion}, k[2:34]...)
	sum := uint16(0)
	for _, b := range raw {
		for bit := 7; bit >= 0; bit-- {
			top := sum >> 15
			sum <<= 1
			if top^uint16(b>>bit&1) == 1 {
				sum ^= 0x1021
			}
		}
	}
	return base32.StdEncoding.EncodeToString(append(raw, byte(sum), byte(sum>>8)))
}

func wallet(label, by string) *draft {
	d := &draft{typ: "wallet.stellar", by: by, v: 2, revAt: []string{"wallet_key", "reverse_sig"}}
	d.body = obj{
		"wallet":     obj{"address": stellarAccount(label), "network": "stellar", "entropy": entropy()},
		"wallet_key": obj{"kid": signKID(label).String(), "reverse_sig": nil},
	}
	d.reseal = func(inner obj) string { return kbsig.Armor(kbsig.SignPacket(signer(label), marshal(inner))) }
	d.posted = func(p *Posted) { p.PublicKey = signKID(label).String() }
	return d
}

func vouchFor(id, by string, instead ...kbsig.SigIDBase) *draft {
	return &draft{typ: "wot.vouch", by: by, v: 2, body: withRevoke(obj{"wot_vouch": expansionID(id).String()}, instead)}
}

func reactTo(id, by string) *draft {
	return &draft{typ: "wot.react", by: by, v: 2, body: obj{"wot_react": expansionID(id).String()}}
}

func expansionID(label string) ExpansionID { return ExpansionID(kbsig.LinkIDOf([]byte(label))) }

func rename(label, by, name, typ string) *draft {
	return &draft{typ: "device", by: by, v: 2, body: obj{"device": obj{
		"id": deviceID(label).String(), "kid": signKID(label).String(), "name": name, "status": 1, "type": typ}}}
}

// statements has one of each.
func statements() []*draft {
	return []*draft{
		social("twitter", "alice", "A"), site("https:", "example.org", "A"), site("dns", "example.org", "A"),
		currency("bitcoin", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "A", kbsig.SigIDBase{1}), wallet("W", "A"),
		vouchFor("bob", "A"), vouchFor("bob", "A", kbsig.SigIDBase{1}), reactTo("carol", "A"), rename("A", "A", "new name", "desktop"),
	}
}
