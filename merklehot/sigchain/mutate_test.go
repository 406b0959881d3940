package sigchain

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
)

var chainsOut = flag.String("chains-out", "", "write every chain that the mutation test accepts to this `file`, one JSON object a line, for judging by a stock client")

// scene is a request that is valid in the world that setup makes.
type scene struct {
	name  string
	setup func(t testing.TB) *world
	batch func(v int) []*draft
	x     func(w *world, links []*Link) Extras
}

func version(v int, ds ...*draft) []*draft {
	for _, d := range ds {
		d.v = v
	}
	return ds
}

func signUp(t testing.TB) *world {
	w := newWorld(t, "alice")
	if err := w.post(Extras{PUK: boxes(1, "A", "A")}, eldest("A", "home computer"), subkey("A"), perUserKey("P1", "A", 1)); err != nil {
		t.Fatal(err)
	}
	return w
}

func twoDevices(t testing.TB) *world {
	w := signUp(t)
	if err := w.post(Extras{PUK: boxes(1, "A", "B")}, sibkey("B", "A", "phone", "mobile"), subkey("B")); err != nil {
		t.Fatal(err)
	}
	return w
}

func following(t testing.TB) *world {
	w := twoDevices(t)
	if err := w.post(Extras{}, track("bob", "A")); err != nil {
		t.Fatal(err)
	}
	return w
}

func noExtras(*world, []*Link) Extras { return Extras{} }

// scenes cover every link type that is taken.
var scenes = []scene{
	{"sign-up", func(t testing.TB) *world { return newWorld(t, "alice") },
		func(v int) []*draft {
			return version(v, eldest("A", "home computer"), subkey("A"), perUserKey("P1", "A", 1))
		},
		func(*world, []*Link) Extras { return Extras{PUK: boxes(1, "A", "A")} }},
	{"device", signUp,
		func(v int) []*draft { return version(v, sibkey("B", "A", "phone", "mobile"), subkey("B")) },
		func(*world, []*Link) Extras { return Extras{PUK: boxes(1, "A", "B")} }},
	{"revoke device", twoDevices,
		func(v int) []*draft { return version(v, perUserKey("P2", "A", 2), revokeDevice("B", "A", "mobile")) },
		func(w *world, links []*Link) Extras {
			return Extras{PUK: boxes(2, "A", "A"), Lease: w.leaseFor(links[1])}
		}},
	{"roll", twoDevices,
		func(v int) []*draft { return version(v, perUserKey("P2", "A", 2)) },
		func(*world, []*Link) Extras { return Extras{PUK: boxes(2, "A", "B", "A")} }},
	{"track", twoDevices, func(v int) []*draft { return version(v, track("bob", "B")) }, noExtras},
	{"untrack", following, func(v int) []*draft { return version(v, untrack("bob", "B")) }, noExtras},
	{"revoke signature", following, nil, leased},
	{"proof", twoDevices, func(v int) []*draft { return version(v, social("twitter", "alice", "B")) }, noExtras},
	{"web site", twoDevices, func(v int) []*draft { return version(v, site("https:", "example.org", "A")) }, noExtras},
	{"domain", twoDevices, func(v int) []*draft { return version(v, site("dns", "example.org", "A")) }, noExtras},
	{"proof instead", following,
		func(v int) []*draft { return version(v, social("gubble.social", "alice", "B", firstFollow)) }, leased},
	{"currency", twoDevices,
		func(v int) []*draft {
			return version(v, currency("bitcoin", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "A"))
		}, noExtras},
	{"currency instead", following,
		func(v int) []*draft {
			return version(v, currency("zcash.t", "t1c3Ebc6FBbWuirNrjJ6HbS4KHLb6Dbh5xL", "B", firstFollow))
		}, leased},
	{"rename", twoDevices, func(v int) []*draft { return version(v, rename("B", "A", "tablet", "mobile")) }, noExtras},
	{"wallet", twoDevices, young(func() *draft { return wallet("W", "A") }), noExtras},
	{"vouch", twoDevices, young(func() *draft { return vouchFor("bob", "A") }), noExtras},
	{"vouch instead", following, young(func() *draft { return vouchFor("bob", "B", firstFollow) }), leased},
	{"reaction", twoDevices, young(func() *draft { return reactTo("carol", "A") }), noExtras},
}

// firstFollow stands for the follow of the world of that name, which is the signature
// that any statement may come in place of.
var firstFollow = kbsig.SigIDBase{1}

func leased(w *world, links []*Link) Extras {
	if links[0].Revoke == nil { // it was what a mutant lacks
		return Extras{}
	}
	return Extras{Lease: w.leaseFor(links[0])}
}

// young is a batch of a type that there is in version 2 only.
func young(d func() *draft) func(int) []*draft {
	return func(v int) []*draft {
		if v == 1 {
			return nil
		}
		return version(v, d())
	}
}

// drafts are the scene's requests in its world, nil if there are none of version v.
func (sc scene) drafts(w *world, v int) []*draft {
	if sc.batch == nil {
		return version(v, revokeSig("A", w.st.Tracks[0].SigID))
	}
	ds := sc.batch(v)
	for _, d := range ds {
		if r, ok := d.body["revoke"].(obj); ok && r["sig_id"] == firstFollow.SigID() {
			r["sig_id"] = w.st.Tracks[0].SigID.SigID()
		}
	}
	return ds
}

// harmless are the places in the inner JSON where another value is as good to
// every client as the one that was there; everything else is the link's meaning
// or its form. Each row says why.
var harmless = []struct{ path, what, why string }{
	{`client\..*`, `.*`, "clients read the version only to tell releases before 1.0.17"},
	{`client`, `add`, "nobody looks for more than name and version"},
	{`ctime`, `inc|dec|1`, "the signer's clock, within a day"},
	{`expire_in`, `inc|dec`, "clients of v6 do not act on it"},
	{`body\.device\.id`, `flip`, "another device, if nobody has that id"},
	{`body\.device\.name`, `flip|upper|longer|shorter`, "another name, if it is allowed"},
	{`body\.device\.type`, `type`, "another kind of device"},
	{`body\.track\.basics\.(id_version|last_id_change)`, `inc|dec|1|0|drop`, "what the follower remembers for itself"},
	{`body\.track\.entropy|body\.untrack\.entropy`, `flip|upper`, "random"},
	{`body\.track\.key.*`, `flip|drop`, "what the follower remembers for itself"},
	{`body\.track\.seq_tail.*`, `flip|inc|dec|1|null`, "what the follower remembers for itself"},
	{`body\.track\.remote_proofs.*`, `.*`, "compared by the follower's own clients with what they see"},
	{`body\.per_user_key\.encryption_kid`, `flip`, "another key that nobody has; the reverse signature is over it"},
	{`body\.sibkey\.reverse_sig`, `shorter|newline`, "PGP armour is the same with other space at its end"},
	{`body\.subkey\.kid|body\.device\.kid`, `flip`, "caught where the two differ"},
	{`body\.service\.(username|name|hostname|domain)`, `flip|upper|longer|shorter`, "somebody else elsewhere, if there can be such a name"},
	{`body\.(service|cryptocurrency|wallet)\.entropy`, `flip|upper`, "random"},
	{`body\.wot_(vouch|react)`, `flip`, "stands for something else; whoever keeps that compares"},
	{`body\.revoke`, `drop`, "takes nothing back; of a revoke link nothing would be left"},
	{`high_skip`, `add`, "nowhere is where the first link's must point; later links are refused with it"},
	{`seq_type`, `add1`, "1 is what its absence means"},
}

func isHarmless(path, what string) bool {
	for _, h := range harmless {
		if match(h.path, path) && match(h.what, what) {
			return true
		}
	}
	return false
}

func match(re, s string) bool { return regexp.MustCompile(`^(?:` + re + `)$`).MatchString(s) }

// mutant is the inner JSON with one thing changed.
type mutant struct {
	path, what string
	text       []byte
}

func splice(doc []byte, off, end int, with string) []byte {
	out := append([]byte{}, doc[:off]...)
	return append(append(out, with...), doc[end:]...)
}

// mutants changes every value, name and place of a document in every way we know.
func mutants(doc []byte) []mutant {
	root, err := kbsig.ParseSignedJSON(doc, true)
	if err != nil {
		panic(err)
	}
	out := []mutant{
		{"", "space before", append([]byte(" "), doc...)},
		{"", "space after", append(append([]byte{}, doc...), '\n')},
		{"", "twice", append(append([]byte{}, doc...), doc...)},
		{"", "add", splice(doc, 1, 1, `"a":1,`)},
		{"seq_type", "add1", bytes.Replace(doc, []byte(`"seqno":`+lastSeqno(doc)+`,"tag"`), []byte(`"seq_type":1,"seqno":`+lastSeqno(doc)+`,"tag"`), 1)},
		{"seq_type", "add3", bytes.Replace(doc, []byte(`"seqno":`+lastSeqno(doc)+`,"tag"`), []byte(`"seq_type":3,"seqno":`+lastSeqno(doc)+`,"tag"`), 1)},
		{"ignore_if_unsupported", "add", bytes.Replace(doc, []byte(`"prev":`), []byte(`"ignore_if_unsupported":true,"prev":`), 1)},
		{"high_skip", "add", bytes.Replace(doc, []byte(`"prev":`), []byte(`"high_skip":{"hash":null,"seqno":0},"prev":`), 1)},
		{"body.revoke", "add", bytes.Replace(doc, []byte(`,"type":"`), []byte(`,"revoke":{"sig_id":"`+strings.Repeat("ab", 32)+`0f"},"type":"`), 1)},
	}
	var walk func(path string, v *kbsig.JSONValue)
	walk = func(path string, v *kbsig.JSONValue) {
		if path != "" {
			for what, with := range changes(string(doc[v.Off:v.End]), v) {
				out = append(out, mutant{path, what, splice(doc, v.Off, v.End, with)})
			}
		}
		for i := range v.Members {
			m := &v.Members[i]
			p := strings.TrimPrefix(path+"."+m.Name, ".")
			out = append(out, member(doc, p, v, i)...)
			walk(p, &m.Value)
		}
		for i := range v.Elems {
			walk(fmt.Sprintf("%s.%d", path, i), &v.Elems[i])
		}
	}
	walk("", root)
	return out
}

func lastSeqno(doc []byte) string {
	return string(regexp.MustCompile(`"seqno":(\d+),"tag"`).FindSubmatch(doc)[1])
}

// member drops, doubles, renames and moves one member.
func member(doc []byte, path string, v *kbsig.JSONValue, i int) []mutant {
	m := v.Members[i]
	start, end := m.Value.Off-len(m.Name)-3, m.Value.End
	text := string(doc[start:end])
	drop := splice(doc, start, end, "")
	drop = bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(drop, []byte(",,"), []byte(",")), []byte("{,"), []byte("{")), []byte(",}"), []byte("}"))
	out := []mutant{
		{path, "drop", drop},
		{path, "double", splice(doc, start, end, text+","+text)},
		{path, "double null", splice(doc, start, end, `"`+m.Name+`":null,`+text)},
		{path, "null double", splice(doc, start, end, text+`,"`+m.Name+`":null`)},
		{path, "upper", splice(doc, start, start+len(m.Name)+2, `"`+strings.ToUpper(m.Name)+`"`)},
		{path, "escaped", splice(doc, start, start+len(m.Name)+2, fmt.Sprintf(`"\u%04x%s"`, m.Name[0], m.Name[1:]))},
		{path, "space", splice(doc, m.Value.Off, m.Value.Off, " ")},
		{path, "add", splice(doc, start, start, `"a":1,`)},
	}
	if i+1 < len(v.Members) {
		next := v.Members[i+1]
		out = append(out, mutant{path, "swap", splice(doc, start, next.Value.End, string(doc[next.Value.Off-len(next.Name)-3:next.Value.End])+","+text)})
	}
	if path == "client."+m.Name {
		out[7].path = "client"
	}
	return out
}

// changes gives other values for one value.
func changes(text string, v *kbsig.JSONValue) map[string]string {
	out := map[string]string{"null": "null", "object": "{}", "array": "[]", "true": "true", "in array": "[" + text + "]"}
	delete(out, map[kbsig.JSONKind]string{kbsig.JSONNull: "null", kbsig.JSONBool: text}[v.Kind])
	switch v.Kind {
	case kbsig.JSONInt:
		out["inc"], out["dec"] = strconv.FormatInt(v.Int+1, 10), strconv.FormatInt(v.Int-1, 10)
		out["neg"], out["float"], out["exp"], out["string"] = "-"+text, text+".0", text+"e0", `"`+text+`"`
		out["big"], out["lead"] = "92233720368547758080", "0"+text
		if v.Int != 0 {
			out["0"] = "0"
		}
		if v.Int != 1 {
			out["1"] = "1"
		}
	case kbsig.JSONString:
		s := v.Str
		out["empty"], out["int"] = `""`, "1"
		out["upper"] = string(marshal(strings.ToUpper(s)))
		out["longer"] = string(marshal(s + "0"))
		out["newline"] = string(marshal(s + "\n"))
		out["nul"] = string(marshal(s + "\x00"))
		out["bad utf8"] = "\"" + s + "\xff\""
		out["surrogate"] = `"\ud83d\ude00"`
		if s != "" {
			i := len(s) / 2
			c := byte('1')
			if s[i] == c {
				c = '2'
			}
			out["flip"] = string(marshal(s[:i] + string(c) + s[i+1:]))
			out["shorter"] = string(marshal(s[:len(s)-1]))
			out["escaped"] = fmt.Sprintf(`"\u%04x%s"`, s[0], text[2:len(text)-1])
		}
		if out["upper"] == text {
			delete(out, "upper")
		}
		if strings.Contains("desktop mobile backup", s) && s != "" {
			out["type"] = `"` + map[string]string{"desktop": "mobile"}[s] + `"`
			if s != "desktop" {
				out["type"] = `"desktop"`
			}
		}
	case kbsig.JSONArray:
		if len(v.Elems) > 0 {
			first := text[1 : v.Elems[0].End-v.Elems[0].Off+1]
			out["again"] = "[" + first + "," + text[1:]
		}
	}
	return out
}

var reverseSig = regexp.MustCompile(`"reverse_sig":"[^"]*"`)

// resign gives the mutated text a fresh reverse signature, so that it is the
// content that is judged, unless the reverse signature is what was changed.
func resign(text []byte, sign func([]byte) string) []byte {
	at := reverseSig.FindIndex(text)
	if at == nil || sign == nil {
		return text
	}
	rev := sign(splice(text, at[0], at[1], `"reverse_sig":null`))
	return splice(text, at[0], at[1], `"reverse_sig":"`+string(marshal(rev))[1:len(marshal(rev))-1]+`"`)
}

// No mutation of any link of any request is accepted, re-signed by the right keys,
// unless it is one of those that every client takes as equally good.
func TestMutants(t *testing.T) {
	var out *json.Encoder
	if *chainsOut != "" {
		f := must[*os.File](t)(os.Create(*chainsOut))
		defer f.Close()
		out = json.NewEncoder(f)
	}
	tried, taken := 0, 0
	for _, sc := range scenes {
		for _, v := range []int{1, 2} {
			w := sc.setup(t)
			batch := func(v int) []*draft { return sc.drafts(w, v) }
			for i := range batch(v) {
				for n, m := range mutantsOf(w, batch(v), i) {
					if testing.Short() && n%16 != i {
						continue
					}
					tried++
					st, links, err := tryMutant(w, sc, batch(v), i, m)
					if err != nil {
						if KindOf(err) == KindNone || KindOf(err) == KindCorrupt {
							t.Fatalf("%s v%d link %d %s %s: no kind: %v", sc.name, v, i, m.path, m.what, err)
						}
						continue
					}
					taken++
					if !isHarmless(m.path, m.what) {
						t.Errorf("%s v%d link %d: accepted with %q changed: %s\n%s", sc.name, v, i, m.path, m.what, m.text)
					}
					if out != nil {
						writeChain(t, out, fmt.Sprintf("%s v%d link %d %s %s", sc.name, v, i, m.path, m.what), w, st, links, false)
					}
				}
			}
		}
	}
	t.Logf("%d mutants, %d taken", tried, taken)
	if tried < 500 || taken == 0 {
		t.Fatalf("only %d mutants, %d taken", tried, taken)
	}
}

func mutantsOf(w *world, ds []*draft, i int) []mutant {
	links := must[[]*Link](w.t)(w.links(ds...))
	return mutants(links[i].Inner())
}

// tryMutant posts the batch with link i replaced and the rest chained to it.
func tryMutant(w *world, sc scene, ds []*draft, i int, m mutant) (*State, []*Link, error) {
	seqno, prev, el := w.st.Tail, w.st.TailLink, w.st.Eldest
	var links []*Link
	for j, d := range ds {
		if d.typ == "eldest" {
			el = signKID(d.by)
		}
		p := w.sign(d, seqno+1, prev, el)
		if j == i {
			text := m.text
			if !strings.HasSuffix(m.path, "reverse_sig") {
				text = resign(text, d.newKeySigns())
			}
			p = w.signText(d, text)
		}
		packet, err := postedPacket(p.Sig)
		if err != nil {
			return nil, nil, err
		}
		l, err := parseLink(packet, []byte(p.SigInner), d.bundle)
		if err != nil {
			return nil, nil, err
		}
		links = append(links, l)
		seqno, prev = seqno+1, l.ID
	}
	st, err := CheckBatch(w.st, links, sc.x(w, links), w)
	return st, links, err
}

// writeChain writes a chain as clients would get it: in full, or with all stubs
// that may be, and then follows cannot be seen.
func writeChain(t testing.TB, out *json.Encoder, name string, w *world, st *State, links []*Link, stub bool) {
	records := append([]Record{}, w.records...)
	for _, l := range links {
		records = append(records, l.Record())
	}
	chain := []json.RawMessage{}
	for i, r := range records {
		e := must[kbsig.WireEntry](t)(r.Entry(stub && i < len(records)-1))
		chain = append(chain, e.AppendJSON(nil))
	}
	want := wanted(st)
	if stub {
		delete(want, "Tracks")
	}
	keys := []string{}
	for _, k := range st.AllKIDs() {
		keys = append(keys, k.String())
	}
	row := map[string]any{"Name": name, "UID": st.UID.String(), "Username": st.Username, "Eldest": kidText(st.Eldest),
		"Keys": keys, "Chain": chain, "Want": want}
	if err := out.Encode(row); err != nil {
		t.Fatal(err)
	}
}

// wanted is what a client should make of the chain.
func wanted(s *State) map[string]any {
	sib, sub, tracks, devices := []string{}, []string{}, []string{}, map[string]string{}
	proofs, money := []string{}, []string{}
	for _, k := range s.Keys {
		switch {
		case !s.KeyActive(k):
		case k.Role == RoleSubkey:
			sub = append(sub, k.KID.String())
		default:
			sib = append(sib, k.KID.String())
		}
	}
	for _, t := range s.Followees() {
		tracks = append(tracks, string(t.Username))
	}
	for _, d := range s.Devices {
		if s.live(d.Incarnation) {
			devices[d.ID.String()] = fmt.Sprintf("%s/%s/%d", d.Type, d.Name, d.Status)
		}
	}
	for _, p := range s.ActiveProofs() {
		if p.Social() {
			proofs = append(proofs, p.Username+"@"+p.Name)
		} else {
			proofs = append(proofs, strings.TrimSuffix(p.Protocol, ":")+"://"+p.Host)
		}
	}
	for _, c := range s.Currencies {
		money = append(money, c.Address)
	}
	account := ""
	if s.Wallet != nil {
		account = s.Wallet.Address
	}
	return map[string]any{"Proofs": proofs, "Money": money, "Account": account, "Sibkeys": sib, "Subkeys": sub, "Tracks": tracks, "Devices": devices, "PUKGen": s.PUKGeneration()}
}
