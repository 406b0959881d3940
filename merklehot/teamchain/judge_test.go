package teamchain

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/kbsig"
)

var (
	judgeOut = flag.String("judge-out", "", "TestMutants: write every link that is signed anew, and what it comes after, to this `file`, one JSON object a line, for judging by a stock client")
	mutants  = flag.Int("mutants", 0, "TestMutants: how many mutants to make at least")
)

// harm is a row of what may be taken.
type harm struct {
	link, what string // patterns
	same       bool   // the chain means just what it would have meant
	why        string
}

// harmless are the changes after which a link that its author signs anew may stand: by
// its type and by what is changed. Each row says why. Everything else is refused.
var harmless = []harm{
	// The chain means what it would have meant.
	{`.*`, `\.(ctime|expire_in) changed`, true, "another time, by which nobody judges"},
	{`.*`, `\.client( \+ unknown| changed|\.name changed|\.version changed)`, true, "who made the link is not read"},
	{`.*`, `\.body\.key\.eldest_kid (changed|dropped)`, true, "not read: the key itself says whose it is"},
	{`.*`, `\.body\.key\.username changed`, true, "the same name in capitals"},
	{`.*`, `\.body\.merkle_root\.(ctime|hash) changed`, true, "number and hash_meta name the root"},
	{`.*`, `\.body\.team\.entropy (changed|dropped)|section entropy of another link`, true, "chance against guessing"},
	{`.*`, `text written otherwise`, true, "white space and the order of names mean nothing"},
	{`.*`, `\.body\.team\.admin dropped`, true, "the author is an admin of the team itself"},
	{`.*`, `admin of another team|section admin of another link`, true, "the author is an admin of a team above, too"},
	{`.*`, `\.body\.team\.admin\.(seqno|team_id) changed`, true, "another link by which the author became an admin, and is one"},
	{`.*`, `\.body\.team\.box_summary_hash (changed|dropped)`, true, "held against the boxes, which stand beside the link"},
	{`.*`, `\.body\.team\.ratchets (changed|dropped|with one twice)|\.body\.team\.ratchets\[\] changed|section ratchets of another link`, true, "held against the hidden chain, which is another package's"},

	// It means something else, which the author may say as well.
	{`.*`, `signer`, false, "somebody else who may do that"},
	{`.*`, `another team`, false, "the author may do that there"},
	{`.*`, `text with a bit flipped`, false, "a bit of something else on this list"},
	{`.*`, `\.body\.team\.members(\.\w+)?(\[\])? (changed|dropped|with one twice)`, false, "other members, whom the author may choose"},
	{`.*`, `\.body\.team\.invites(\.\w+)?(\[\])?(\.\w+)? (changed|dropped|with one twice)`, false, "other invitations, which the author may give"},
	{`team.change_membership`, `\.body\.team\.(completed|used)_invites.* (changed|dropped)`, false, "an invitation stays open, or somebody else used it"},
	{`team.bot_settings`, `\.body\.team\.bot_settings.* (changed|dropped|with one twice)`, false, "other places where the bot works"},
	{`team.kbfs`, `\.body\.team\.kbfs.* (changed|dropped)`, false, "another folder"},
	{`team.(root|subteam_head|settings)`, `\.body\.team\.settings.* (changed|dropped)|section settings of another link`, false, "other settings"},
	{`.*`, `\.body\.team\.per_team_key\.(encryption_kid|seed_check) changed`, false, "another key"},
	{`team.(change_membership|settings)`, `\.body\.team\.per_team_key dropped`, false, "without a new key"},
}

func harmlessRow(link, what string) *harm {
	i := slices.IndexFunc(harmless, func(h harm) bool { return match(h.link, link) && match(h.what, what) })
	if i < 0 {
		return nil
	}
	return &harmless[i]
}

func match(re, s string) bool { return regexp.MustCompile(`^(?:` + re + `)$`).MatchString(s) }

// bout is a run of TestMutants.
type bout struct {
	*hand
	t     *testing.T
	eye   client.TeamJudge // of somebody else
	out   *json.Encoder
	done  map[kbsig.LinkType]bool // every place of such a link has been changed
	n     *tally
	taken map[string]bool
}

type tally struct{ forged, signed, taken int }

// TestMutants proves that of links with one thing changed none stands that nobody
// signed; that of those which their author signs so, only what the list allows stands;
// that an independent reader takes whatever stands, and reads out of it just what we do;
// and that judging changes nothing. With -judge-out a stock client can judge the same.
func TestMutants(t *testing.T) {
	want := *mutants
	switch {
	case want > 0:
	case testing.Short():
		want = 800
	default:
		want = 6000
	}
	var out *json.Encoder
	if *judgeOut != "" {
		f, err := os.Create(*judgeOut)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = json.NewEncoder(f)
	}
	n := new(tally)
	done, taken := make(map[kbsig.LinkType]bool), make(map[string]bool)
	missing := func() bool { return !testing.Short() && len(done) < len(rules) }
	for seed := uint64(0); n.forged+n.signed < want || missing() && seed < 20; seed++ {
		b := &bout{hand: &hand{world: newWorld(seed, 8), tag: fmt.Sprint(seed)}, t: t, out: out, n: n, done: done, taken: taken}
		b.eye.Signer = b.signer
		for range 60 {
			if ds := b.step(); ds != nil {
				b.play(ds)
			}
		}
	}
	if missing() {
		t.Errorf("links of %d types were changed, there are %d", len(done), len(rules))
	}
	for _, row := range slices.Sorted(maps.Keys(taken)) {
		t.Errorf("taken, and not on the list: %s", row)
	}
	t.Logf("%d mutants nobody signed, none taken; %d signed anew, %d of them taken, and read alike by another reader", n.forged, n.signed, n.taken)
}

// signer is what the eye asks.
func (b *bout) signer(u client.UID, k client.KID) client.Seqno {
	eldest, ok, err := b.Device(kbsig.UID(u), kbsig.KID(k))
	if err != nil || !ok {
		return 0
	}
	return client.Seqno(eldest)
}

// play tries mutants of links that are posted together, then the links themselves.
func (b *bout) play(ds []*draft) {
	good := make([]Posted, len(ds))
	for i, d := range ds {
		good[i] = d.sign()
	}
	before := b.picture()
	links, after, err := b.check(good...)
	if err != nil {
		b.t.Fatalf("%v: %s", err, good[0].SigInner)
	}
	meant, err := b.read(links)
	if err != nil {
		b.t.Fatalf("another reader: %v: %s", err, good[0].SigInner)
	}
	said := b.compare("the link itself", meant, after)
	for at, d := range ds {
		if b.out != nil {
			b.writeBase(d.link())
		}
		for range 12 {
			ps, what := b.forge(good, at)
			if what != "" {
				b.forged(links, ps, d.outer.Type.TeamName()+": "+what)
			}
		}
		for range 24 {
			p, what := b.mutate(d)
			b.signed(good, at, d, p, what, said)
		}
		if !b.done[d.outer.Type] {
			b.done[d.outer.Type] = true
			b.everything(good, links, at, d, said)
		}
	}
	if !maps.Equal(b.picture(), before) {
		b.t.Fatal("a judgement changed a team")
	}
	b.commit(links, after)
	b.eye.Keep(meant)
	b.seen = append(b.seen, ds...)
}

// everything changes each place of a link in each way, and each byte of its signature.
func (b *bout) everything(good []Posted, links []*Link, at int, d *draft, said map[string]string) {
	m := d.copy()
	for i := range m.places() {
		for n := range changes {
			m := d.copy()
			p, what := b.changePlace(&m, m.places()[i], n)
			b.signed(good, at, d, p, what, said)
		}
	}
	raw, _ := base64.StdEncoding.DecodeString(good[at].Sig)
	for i := range raw {
		ps := slices.Clone(good)
		other := slices.Clone(raw)
		other[i] ^= 1 << b.rng.IntN(8)
		ps[at].Sig = base64.StdEncoding.EncodeToString(other)
		b.forged(links, ps, fmt.Sprintf("%s: byte %d of the signature", d.outer.Type.TeamName(), i))
	}
}

// forged: what nobody signed is refused, or it is the links themselves.
func (b *bout) forged(links []*Link, ps []Posted, what string) {
	b.n.forged++
	got, _, err := b.check(ps...)
	if err == nil && !slices.EqualFunc(got, links, func(x, y *Link) bool { return x.Same(y.Record()) }) {
		b.t.Errorf("taken, and nobody signed it: %s", what)
	}
}

// signed: what the author of a link signs instead of it is refused, or on the list, and
// read alike by both readers.
func (b *bout) signed(good []Posted, at int, d *draft, p Posted, what string, said map[string]string) {
	if what == "" {
		return
	}
	b.n.signed++
	ps := slices.Clone(good)
	ps[at] = p
	links, after, err := b.check(ps...)
	b.writeJudged(d, p, links, at, what, err)
	if err != nil || p.Sig == good[at].Sig {
		return
	}
	b.n.taken++
	what = d.outer.Type.TeamName() + ": " + what
	row := harmlessRow(d.outer.Type.TeamName(), what[len(d.outer.Type.TeamName())+2:])
	if row == nil {
		b.taken[what] = true
	}
	meant, err := b.read(links)
	if err != nil {
		b.t.Errorf("taken, but another reader refuses it: %s: %v\n%s", what, err, p.SigInner)
		return
	}
	if now := b.compare(what, meant, after); row != nil && row.same && !maps.Equal(now, said) {
		b.t.Errorf("listed as the same, but it means something else: %s: %v, %v", what, now, said)
	}
}

// read plays links as another reader gets them.
func (b *bout) read(links []*Link) (map[client.TeamID]*client.TeamChain, error) {
	var batch []client.TeamEntry
	for _, l := range links {
		raw := mustJSON(must(l.Record().Entry(false)))
		batch = append(batch, client.TeamEntry{Team: client.TeamID(l.Team), JSON: raw})
	}
	return b.eye.Judge(batch)
}

// compare holds what chains mean to us against what they mean to another reader, and
// returns it; which link is the last is no part of it.
func (b *bout) compare(what string, theirs map[client.TeamID]*client.TeamChain, ours map[kbsig.TeamID]*State) map[string]string {
	all := make(map[string]string)
	if len(theirs) != len(ours) {
		b.t.Errorf("%s: %d chains grow for us, %d for another reader", what, len(ours), len(theirs))
	}
	for id, c := range theirs {
		st := ours[kbsig.TeamID(id)]
		if st == nil {
			b.t.Errorf("%s: %s grows for another reader only", what, id)
			continue
		}
		says, said := c.Says(), says(st)
		if !maps.Equal(says, said) {
			b.t.Errorf("%s: of team %s another reader says %v, we say %v", what, id, says, said)
		}
		for k, v := range said {
			if k != "tail" {
				all[id.String()+" "+k] = v
			}
		}
	}
	return all
}

// says is what a state means, in the words of client.TeamChain.Says.
func says(s *State) map[string]string {
	seqno, tail, _ := s.Tail()
	joinAs, open := s.Open()
	out := map[string]string{
		"deleted": fmt.Sprint(s.Deleted()), "implicit": fmt.Sprint(s.Implicit()), "name": s.Name().Last(),
		"open": fmt.Sprint(open), "links": fmt.Sprint(seqno), "tail": tail.String(),
	}
	if open {
		out["join as"] = joinAs.String()
	}
	if s.TLF() != "" {
		out["folder"] = s.TLF()
	}
	var restricted []kbsig.UserVersion
	err := s.Members(func(uv kbsig.UserVersion, r Role) error {
		out["member "+uv.String()] = r.String()
		if r == RoleRestrictedBot {
			restricted = append(restricted, uv)
		}
		return nil
	})
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	check(err)
	check(s.PTKs(func(k PTK) error {
		out[fmt.Sprintf("key %d", k.Generation)] = fmt.Sprintf("%s %s link %d", k.Signing, k.Encryption, k.Seqno)
		return nil
	}))
	check(s.Subteams(func(t kbsig.TeamID) error {
		out["subteam "+t.String()] = fmt.Sprint(must(s.Subteam(t)))
		return nil
	}))
	check(s.ActiveInvites(func(i InviteState) error {
		v := i.Invite
		out["invitation "+v.ID.String()] = fmt.Sprintf("%s %s %q %d of %d, link %d", v.Role, v.Type, v.Name, i.Uses, v.MaxUses, i.Seqno)
		return nil
	}))
	for _, uv := range restricted {
		b, ok, err := s.BotSettings(uv)
		check(err)
		list := func(l []string) string {
			if l == nil {
				return "<nil>"
			}
			return fmt.Sprint(l)
		}
		if ok {
			out["bot "+uv.String()] = fmt.Sprintf("%v %v %v %v", b.Cmds, b.Mentions, list(b.Triggers), list(b.Convs))
		}
	}
	return out
}

// picture is all that a server keeps of teams.
func (w *world) picture() map[string]string {
	out := make(map[string]string)
	for t, s := range w.teams {
		out[t.String()] = string(s.header) + fmt.Sprint(len(s.records))
		for k, v := range s.rows {
			out[t.String()+k] = string(v)
		}
	}
	return out
}
