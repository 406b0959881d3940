package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/faultfs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/store"
)

// scene is a request that is right in the state that comes before it.
type scene struct {
	name     string
	endpoint string
	// ask sends it; it is held back.
	ask func(context.Context, *cast) error
	// before makes what it needs besides the cast.
	before func(context.Context, *cast) error
	devel  bool // the server is in devel mode
	hasty  bool // resets do not wait
}

// cast is who takes part in a scene: somebody with two devices who follows another.
type cast struct {
	alice, bob *client.Account
	tablet     *client.Device
	follow     string // the id of the link's signature
	vouch      string // of alice for bob, likewise
	lease      string
	gpg        *client.PGPKey // of alice
	// What scenes make for themselves, all of alice:
	asked    *client.Account // with the session that asked for a reset
	proof    string          // the id of the statement
	botToken string
}

var signedScenes = []scene{
	{name: "sign up", endpoint: "signup", ask: func(ctx context.Context, c *cast) error {
		_, err := client.Signup(ctx, c.alice.Verifier, client.SignupOptions{Name: "charlie", Stream: client.CheapStream([]byte{1}), DeviceName: "desk"})
		return err
	}},
	{name: "log in", endpoint: "login", ask: func(ctx context.Context, c *cast) error {
		_, err := client.Login(ctx, c.alice.Verifier, "alice", "", client.CheapStream([]byte("alice")))
		return err
	}},
	{name: "first device", endpoint: "key/multi", ask: func(ctx context.Context, c *cast) error {
		_, err := client.Signup(ctx, c.alice.Verifier, client.SignupOptions{Name: "charlie", Stream: client.CheapStream([]byte{1}), DeviceName: "desk"})
		return err
	}},
	{name: "device halves", endpoint: "device/update", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.AddDevice(ctx, "phone", client.DeviceMobile)
		return err
	}},
	{name: "another device", endpoint: "key/multi", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.AddDevice(ctx, "phone", client.DeviceMobile)
		return err
	}},
	{name: "new session", endpoint: "new_session", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.NewSession(ctx)
		return err
	}},
	{name: "lease over keys", endpoint: "downgrade/key", ask: func(ctx context.Context, c *cast) error { return c.alice.RevokeDevice(ctx, c.tablet.ID) }},
	{name: "revoke a device", endpoint: "key/multi", ask: func(ctx context.Context, c *cast) error { return c.alice.RevokeDevice(ctx, c.tablet.ID) }},
	{name: "roll", endpoint: "key/multi", ask: func(ctx context.Context, c *cast) error { return c.alice.RollPUK(ctx) }},
	{name: "follow", endpoint: "follow", ask: func(ctx context.Context, c *cast) error { return c.bob.Follow(ctx, c.alice.UID) }},
	{name: "unfollow", endpoint: "follow", ask: func(ctx context.Context, c *cast) error { return c.alice.Unfollow(ctx, c.bob.UID) }},
	{name: "lease over signatures", endpoint: "downgrade/sig", ask: func(ctx context.Context, c *cast) error { return c.alice.RevokeSigs(ctx, c.follow) }},
	{name: "revoke a signature", endpoint: "sig/revoke", ask: func(ctx context.Context, c *cast) error { return c.alice.RevokeSigs(ctx, c.follow) }},
	{name: "cancel a lease", endpoint: "downgrade/cancel", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.Server().Post(ctx, "downgrade/cancel", url.Values{"downgrade_lease_id": {c.lease}}, c.alice.NIST(c.alice.Device))
		return err
	}},
	{name: "device ephemeral key", endpoint: "user/device_ek", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.PostDeviceEK(ctx, c.alice.Device)
		return err
	}},
	{name: "user ephemeral key", endpoint: "user/user_ek", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.PostUserEK(ctx)
		return err
	}},
	{name: "clone token", endpoint: "device/clone_detection_token", ask: func(ctx context.Context, c *cast) error {
		_, _, err := c.alice.CloneToken(ctx, c.alice.Device, [16]byte{1}, [16]byte{2})
		return err
	}},
	{name: "prove", endpoint: "sig/post", ask: func(ctx context.Context, c *cast) error {
		_, _, err := c.alice.Prove(ctx, "github", "alice")
		return err
	}},
	{name: "currency", endpoint: "sig/post", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.Currency(ctx, "bitcoin", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "")
		return err
	}},
	{name: "currency instead", endpoint: "sig/post", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.Currency(ctx, "zcash.t", "t1c3Ebc6FBbWuirNrjJ6HbS4KHLb6Dbh5xL", c.follow)
		return err
	}},
	{name: "rename", endpoint: "sig/post", ask: func(ctx context.Context, c *cast) error {
		return c.alice.RenameDevice(ctx, c.tablet.ID, "another name")
	}},
	{name: "wallet", endpoint: "key/multi", ask: func(ctx context.Context, c *cast) error {
		return c.alice.SetWallet(ctx, client.NewSigningKey(client.Seed{7}))
	}},
	{name: "vouch", endpoint: "sig/multi", ask: func(ctx context.Context, c *cast) error {
		_, err := c.bob.Vouch(ctx, c.alice.Me, "we met <here> & there", "")
		return err
	}},
	{name: "vouch again", endpoint: "sig/multi", ask: func(ctx context.Context, c *cast) error {
		_, err := c.alice.Vouch(ctx, c.bob.Me, "we met again", c.vouch)
		return err
	}},
	{name: "react", endpoint: "sig/multi", ask: func(ctx context.Context, c *cast) error {
		_, err := c.bob.React(ctx, c.vouch, true)
		return err
	}},
	{name: "change the password", endpoint: "passphrase/replace", ask: func(ctx context.Context, c *cast) error {
		return c.alice.ChangePassword(ctx, client.CheapStream([]byte("another")))
	}},
	{name: "recover the password", endpoint: "passphrase/sign", ask: func(ctx context.Context, c *cast) error {
		return c.alice.RecoverPassword(ctx, c.tablet, client.CheapStream([]byte("another")))
	}},
	{name: "repair a half", endpoint: "device/update_lks_client_half", ask: func(ctx context.Context, c *cast) error {
		return c.alice.RepairClientHalf(ctx, c.tablet)
	}},
	{name: "reset", endpoint: "nuke", ask: func(ctx context.Context, c *cast) error { return c.alice.Reset(ctx) }},
	{name: "delete", endpoint: "delete", ask: func(ctx context.Context, c *cast) error { return c.alice.Delete(ctx) }},
	{name: "ask for a reset", endpoint: "autoreset/enter", ask: func(ctx context.Context, c *cast) error { return c.alice.EnterReset(ctx, false) }},
	{name: "lockdown", endpoint: "account/lockdown", ask: func(ctx context.Context, c *cast) error { return c.alice.SetLockdown(ctx, true) }},
	{name: "add a mail address", endpoint: "email/add", ask: func(ctx context.Context, c *cast) error { return c.alice.AddMail(ctx, "a1@example.org", 1) }},
	{name: "sign a mail address", endpoint: "account/email_update_signed", ask: func(ctx context.Context, c *cast) error {
		return c.alice.ReplaceMail(ctx, "a1@example.org")
	}},
	{name: "add a PGP key", endpoint: "key/add", ask: func(ctx context.Context, c *cast) error { return c.bob.AddPGP(ctx, c.gpg) }},
	{name: "update a PGP key", endpoint: "key/add", ask: func(ctx context.Context, c *cast) error {
		k, err := c.gpg.Version(2)
		if err != nil {
			return err
		}
		return c.alice.UpdatePGP(ctx, k)
	}},
	{name: "revoke a PGP key", endpoint: "key/multi", ask: func(ctx context.Context, c *cast) error { return c.alice.RevokePGP(ctx, c.gpg.KID) }},
	{name: "links by sig/multi", endpoint: "sig/multi", ask: func(ctx context.Context, c *cast) error {
		c.bob.EditPost = nil
		l, err := c.linkOf(ctx, c.bob.Follow, c.alice.UID)
		if err != nil {
			return err
		}
		_, err = c.bob.Server().PostJSON(ctx, "sig/multi", map[string]any{"sigs": []any{map[string]any{
			"sig": b64(l.Packet), "sig_inner": string(l.Inner), "signing_kid": l.Spec.Signer.KID().String(), "type": l.Spec.Type,
		}}}, c.bob.NIST(c.bob.Device))
		return err
	}},
}

var errBuilt = errors.New("the link has been built")

// linkOf builds the link of a deed without posting it.
func (c *cast) linkOf(ctx context.Context, deed func(context.Context, client.UID) error, u client.UID) (*client.SignedLink, error) {
	srv := c.bob.Server()
	through := srv.HTTP.Transport
	srv.HTTP.Transport = &holder{RoundTripper: through, endpoint: "follow"}
	err := deed(ctx, u)
	srv.HTTP.Transport = through
	if !errors.Is(err, errHeld) {
		return nil, fmt.Errorf("%w: %v", errBuilt, err)
	}
	return c.bob.Sent[0], nil
}

// scenesShort: a short run takes one in so many scenes.
const scenesShort = 3

// harm is a row of what may be taken.
type harm struct{ scene, path, what, why string }

// harmless are the mutants that a server may take, by scene, place and change; each row
// says why. Everything else must be refused.
var harmless = []harm{
	// Any request.
	{`.*`, `path`, `no suffix|double slash|dots`, "the same endpoint, written otherwise"},
	{`.*`, `X-.*`, `double`, "the first counts, which is the right one"},
	{`user ephemeral key`, `method`, `GET`, "another endpoint, which reads"},
	{`log in|sign up`, `X-.*`, `.*`, "nobody asks who signs up or logs in"},
	{jsonScenes, `content type`, `.*`, "the endpoint takes nothing but JSON"},
	{`.*`, `content type`, `multipart`, "then there is no argument, and none is needed"},

	// JSON that says the same.
	{jsonScenes, `body`, `(space|newline) (before|after)`, "white space"},
	{jsonScenes, `.*`, `space|escaped|escaped name|upper name`, "the same document, written otherwise"},
	{jsonScenes, `.*`, `add`, "a name that means nothing here"},
	{jsonScenes, `(.*\.)?[a-z_]+`, `swap`, "members have no order"},
	{jsonScenes, `per_user_key\.boxes\.\d+`, `swap`, "boxes have no order"},

	{`vouch|vouch again|react`, `sigs\.0\.expansions\..*`, `float|exp`, "the same number; what is said is written anew"},

	// Forms that say the same.
	{formScenes, `.*`, `escaped|escaped name|add|swap|in query|semicolon`, "the same form, written otherwise"},
	{formScenes, `.*`, `double|other last|empty last`, "the first counts"},
	{formScenes, `.*`, `other in query`, "the form counts before the query"},
	{`new session`, ``, `.*`, "it has no arguments"},
	{`new session`, `body`, `.*`, "it has no arguments"},
	{`new session`, `content type`, `.*`, "it has no arguments"},
	{formScenes, `body`, `space after|newline after|nul after|twice|space before|mark before`, "hits an argument that is free, see there"},

	// What is sent beside a signature repeats what is signed; it may be left out.
	{linkScenes, `(sigs\.\d\.)?(sig_id_base|sig_id_short|type|is_remote_proof|eldest_kid|is_primary|new_eldest|uid)`,
		`drop|empty|null|shorter|upper name|list name|no value|empty first`, "may be left out"},

	{`prove`, `remote_username|supersede`, `drop|empty|upper name|list name|no value|empty first`, "may be left out"},
	{`prove`, `supersede`, `flip|inc|dec|number|0|1|shorter|other's`, "what takes whose place is in the chain"},
	{`add a PGP key|update a PGP key`, `public_key`, `newline after|space after|shorter`, "white space around armour; its last character is a newline"},
	{`update a PGP key`, `is_update`, `drop|shorter|empty|no value|upper name|list name|empty first`, "may be left out"},

	{`vouch|vouch again|react`, `sigs\.0\.(seq_type|version)`, `drop|null|dec`, "may be left out, and which chain it is says the link"},
	{`.*`, `downgrade_lease_id`, `upper`, "the same id"},
	{`revoke a PGP key`, `sigs\.1`, `drop`, "a per-user key may be rolled without revoking anything"},
	{`wallet`, `sigs|sigs\.0`, `array|drop`, "a list of nothing asks for nothing"},
	{`ask for a reset`, `self`, `.*`, "only whether it is 1 counts, and without a session it says nothing"},
	{`ask for a reset`, `username`, `upper`, "the same name"},
	{`ask for a reset`, `body`, `space before|mark before`, "hits the name of an argument that may be left out"},

	// What nobody signs and nobody but its owner can judge.
	{`sign up`, `username`, `other first|flip|shorter|longer|twice|null|true|lower|upper|number|text`, "another free name"},
	{`sign up`, `salt|pwh|pdpka5_kid`, `flip|bit|upper|lower`, "another password"},
	{`sign up`, `invitation_id`, `.*`, "the server is open"},
	{`sign up`, `platform|skip_mail|no_email|verify_email`, `.*`, "not read"},
	{`sign up`, `random_pw`, `.*`, "what is not true is false"},
	{`device halves`, `device_id`, `flip|upper|lower`, "the halves of another device to come"},
	{`device halves`, `lks_server_half`, `bit|upper|lower`, "another half"},
	{`device halves`, `platform`, `.*`, "another platform, or none"},
	{`device halves`, `type`, `.*`, "another kind of device; the link says what it is"},
	{`device halves`, `ppgen`, `drop|empty|shorter|no value|upper name|list name|empty first|neg|dec|sign|lead`, "unknown, or the same"},
	{`clone token`, `prior|stage`, `flip|other's|upper|lower|other first`, "another copy of the device is what is looked for"},
	{`lease .*`, `kids|sig_ids`, `twice`, "the same, named twice"},
	{`cancel a lease`, `downgrade_lease_id`, `flip|upper|lower|other's|other first`, "a lease that is not there is cancelled already"},
	{`log in`, `email_or_username`, `upper|lower|space .*|newline after`, "names have no case"},
	{`.*`, `per_user_key\.prev`, `bit`, "sealed: only the owner can open it"},
	{`.*`, `per_user_key\.prev`, `broken lines|newline after`, "base64 may have line breaks"},
	{`user ephemeral key`, `boxes`, `space .*|newline after`, "white space in JSON"},
	{`.*`, `pwh_version|ppgen`, `sign|lead`, "the same number"},
	{passwordScenes, `(.*\.)?[a-z0-9_]+`, `swap`, "members have no order"},
	{`lockdown`, `method`, `GET`, "another endpoint, which reads"},
	{passwordScenes, `private_keys`, `.*`, "there are none"},
	{`change the password`, `lks_mask|pwh|pdpka5_kid`, `flip|bit|upper|lower`, "another password"},
	{`change the password`, `lks_client_halves\..*`, `bit|broken lines|newline after`, "sealed: only the owner can open it"},
	{`recover the password`, `lks_mask`, `flip|bit|upper|lower`, "nobody signs the mask"},
	{`recover the password`, `pwh|pdpka5_kid`, `upper`, "the same in hex"},
	{`recover the password`, `lks_client_halves\..*`, `bit|broken lines|newline after`, "sealed: only the owner can open it"},
	{`recover the password`, `ppgen|old_pdpka[45]`, `.*`, "not read: the signature stands for them"},
	{`repair a half`, `lks_client_half`, `bit|broken lines|newline after`, "sealed: only the owner can open it"},
	{`repair a half`, `kid`, `upper`, "the same in hex"},
	{`lockdown`, `enabled`, `dec|true`, "the same, or off, which it is"},
	{`revoke a (signature|device)`, `downgrade_lease_id`, `upper`, "the same in hex"},
	{`add a mail address`, `email`, `flip|shorter|longer|twice|upper|lower|bit|space before|space after|newline after`, "another address, or the same"},
	{`add a mail address`, `visibility`, `drop|null|flip|dec|neg|zero`, "private, or not said, which is private"},
	{`sign a mail address`, `signing_kid`, `upper`, "the same in hex"},
	{`user ephemeral key`, `boxes`, `drop|empty|null|array|upper name|list name|no value|empty first`, "no device can read it"},
}

// The kinds of scenes.
const (
	passwordScenes = `change the password|recover the password`
	jsonScenes     = `first device|another device|revoke a device|revoke a PGP key|roll|wallet|vouch|vouch again|react|links by sig/multi|add a mail address|` + passwordScenes
	linkScenes     = jsonScenes + `|add a PGP key|update a PGP key|follow|unfollow|revoke a signature|prove|currency|currency instead|rename`
	formScenes     = `add a PGP key|update a PGP key|reset|delete|ask for a reset|sign up|log in|device halves|new session|lease .*|follow|unfollow|revoke a signature|cancel a lease|.* ephemeral key|clone token|prove|currency|currency instead|rename|repair a half|lockdown|sign a mail address`
)

func isHarmless(scene string, m mutant) bool {
	for _, h := range slices.Concat(harmless, freeHarmless, teamHarmless) {
		if match(h.scene, scene) && match(h.path, m.path) && match(h.what, m.what) {
			return true
		}
	}
	return false
}

func match(re, s string) bool { return regexp.MustCompile(`^(?:` + re + `)$`).MatchString(s) }

// TestMutants proves that no request that was right and had one thing changed is taken,
// or writes anything, unless it is on the list of those that say the same or may say
// something else; that none makes a handler panic; and that the right one is still taken
// afterwards. What the list allows leaves a clean audit.
func TestMutants(t *testing.T) {
	t.Parallel()
	scenes := slices.Concat(signedScenes, freeScenes)
	scenes = slices.DeleteFunc(scenes, func(s scene) bool { return !match(*sceneFlag, s.name) })
	if testing.Short() { // a part of them, another for each seed
		part := int(*seedFlag % scenesShort)
		scenes = slices.DeleteFunc(scenes, func(sc scene) bool { part++; return part%scenesShort != 0 })
	}
	stages := make([]*stage, len(scenes))
	for i, sc := range scenes {
		stages[i] = setScene(t, sc)
	}
	playMutants(t, stages, figure(mutFlag, 2500, 200))
}

// playMutants tries about so many mutants of the stages' requests.
func playMutants(t *testing.T, stages []*stage, want int) {
	t.Helper()
	total := 0
	for _, s := range stages {
		total += len(s.mutants)
	}
	want = min(want, total)
	oneIn := max(1, total/want)
	rng := rand.New(rand.NewPCG(*seedFlag, 9))
	tried, taken := 0, 0
	for _, s := range stages {
		s.play(t, rng, oneIn)
		tried, taken = tried+s.tried, taken+s.taken
	}
	t.Logf("%d of %d mutants tried, %d taken", tried, total, taken)
	if tried < want*2/3 {
		t.Errorf("only %d mutants tried", tried)
	}
}

// stage is a scene with its request and the state before it.
type stage struct {
	scene
	lab          *lab
	before       *vfs.MemFS
	born         time.Time // when before was
	right        request
	mutants      []mutant
	r            *run
	group        uint64
	tried, taken int
	// read looks at what was made of a mutant that is taken; nil: only the audit does.
	read func(context.Context, *run) error
}

// setScene makes the state before a scene and its request.
func setScene(t *testing.T, sc scene) *stage {
	t.Helper()
	ctx := t.Context()
	l := newLab(t)
	l.cfg.Devel = sc.devel
	if sc.hasty {
		l.cfg.Reset.Delay, l.cfg.Reset.DelayOneDevice = 0, 0
	}
	r := l.mustStart(t)
	srv := r.server()
	hold := &holder{RoundTripper: srv.HTTP.Transport}
	srv.HTTP.Transport = hold
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("set the scene %s: %v", sc.name, err)
		}
	}
	c := &cast{}
	for name, who := range map[string]**client.Account{"alice": &c.alice, "bob": &c.bob} {
		var err error
		*who, err = client.Signup(ctx, client.NewVerifier(srv, nil), client.SignupOptions{
			Name: name, Stream: client.CheapStream([]byte(name)), DeviceName: "desk of " + name,
		})
		must(err)
	}
	var err error
	must(srv.CheckSession(ctx, c.bob.NIST(c.bob.Device))) // the token is known from now on
	c.tablet, err = c.alice.AddDevice(ctx, "tablet", client.DeviceMobile)
	must(err)
	must(c.alice.Follow(ctx, c.bob.UID))
	c.follow = c.alice.Posted[len(c.alice.Posted)-1].SigID.SigID()
	c.vouch, err = c.alice.Vouch(ctx, c.bob.Me, "we met", "")
	must(err)
	c.gpg, _ = pgpKeyPair(t)
	must(c.alice.AddPGP(ctx, c.gpg))
	must(second(c.alice.PostDeviceEK(ctx, c.tablet)))
	must(second3(c.alice.CloneToken(ctx, c.alice.Device, [16]byte{}, [16]byte{1})))
	reply, err := srv.Post(ctx, "downgrade/key", url.Values{"kids": {c.tablet.Sig.KID().String()}}, c.alice.NIST(c.alice.Device))
	must(err)
	c.lease = strings.Trim(string(reply.Field("downgrade_lease_id")), `"`)

	if sc.before != nil {
		must(sc.before(ctx, c))
	}

	hold.endpoint = sc.endpoint
	if err := sc.ask(ctx, c); !errors.Is(err, errHeld) {
		t.Fatalf("scene %s: %v", sc.name, err)
	}
	s := &stage{scene: sc, lab: l, right: *hold.held}
	s.mutants = s.right.mutants()
	srv.Close()
	must(r.stop())
	s.born = l.clock()
	s.before = faultfs.Clone(l.mem, 100, rand.New(rand.NewPCG(0, 0)))
	return s
}

func second3[A, B any](_ A, _ B, err error) error { return err }

// reset starts a server in the state before the scene.
func (s *stage) reset(t *testing.T) {
	t.Helper()
	s.end(t)
	l := s.lab.on(faultfs.Clone(s.before, 100, rand.New(rand.NewPCG(0, 0))))
	// For this server it is always the moment at which the scene was set: nothing falls due
	// by itself, so that whatever is written was written for a request.
	l.clock = func() time.Time { return s.born }
	s.r = l.mustStart(t)
	s.settle(t)
	s.group = s.groupNow(t)
}

// settle waits until the news of what was done before has been delivered, and the work
// that is due has been done, which writes.
func (s *stage) settle(t *testing.T) {
	t.Helper()
	for left := true; left && t.Context().Err() == nil; {
		v := s.r.store.View()
		left = false
		err := v.Scan(keys.Events(), keys.End(keys.Events()), func(_, _ []byte) error {
			left = true
			return store.ErrStop
		})
		due := keys.DueJobs([16]byte{})[:1] // of every kind
		errDue := v.Scan(due, keys.End(due), func(k, _ []byte) error {
			_, at, _, ok := keys.DueJobOf(k)
			left = left || ok && at <= s.born.UnixMilli()
			return nil
		})
		err = errors.Join(err, errDue)
		v.Close()
		if err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

func (s *stage) end(t *testing.T) {
	t.Helper()
	if s.r == nil {
		return
	}
	if n := testutil.ToFloat64(s.r.metrics.Panics); n != 0 {
		t.Errorf("%s: %v handlers panicked", s.name, n)
	}
	s.r.mustStop(t)
	s.r = nil
}

func (s *stage) groupNow(t *testing.T) uint64 {
	t.Helper()
	v := s.r.store.View()
	defer v.Close()
	n, err := groupOf(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// play tries one in so many mutants, then the right request.
func (s *stage) play(t *testing.T, rng *rand.Rand, oneIn int) {
	s.reset(t)
	defer s.end(t)
	for _, m := range s.mutants {
		if rng.IntN(oneIn) > 0 {
			continue
		}
		s.tried++
		s.try(t, m)
	}
	code, answer, err := s.right.send(s.r.client.HTTP, s.r.uri)
	if err != nil || code != 0 || s.groupNow(t) == s.group {
		t.Errorf("%s: the right request: %v %s", s.name, err, answer)
	}
}

func (s *stage) try(t *testing.T, m mutant) {
	q := m.of(s.right)
	code, answer, err := q.send(s.r.client.HTTP, s.r.uri)
	if err != nil && !strings.Contains(err.Error(), "invalid header") {
		t.Errorf("%s, %s, %s: %v", s.name, m.path, m.what, err)
		return
	}
	wrote := s.groupNow(t) != s.group
	switch {
	case err == nil && code == 0:
		s.taken++
		if !isHarmless(s.name, m) {
			t.Errorf("taken: %s, %s, %s", s.name, m.path, m.what)
		}
		if !wrote {
			return
		}
		if err := s.r.audit(); err != nil {
			t.Errorf("%s, %s, %s: %v", s.name, m.path, m.what, err)
		}
		if s.read == nil || match(sealed, m.path) {
			break
		}
		if err := s.read(t.Context(), s.r); err != nil {
			t.Errorf("%s, %s, %s: %v", s.name, m.path, m.what, err)
		}
	case wrote:
		t.Errorf("refused with code %d, and something was written: %s, %s, %s: %.200s", code, s.name, m.path, m.what, answer)
	default:
		return
	}
	s.reset(t)
}
