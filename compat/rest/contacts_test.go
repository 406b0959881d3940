package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/jobs"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/mail"
	"github.com/keystead/keystead/engine/store"
)

// letterbox keeps what leaves a door as mail and text messages.
type letterbox struct {
	mails []mail.Message
	texts []mail.Text
}

func (l *letterbox) Mail(_ context.Context, m mail.Message) error {
	l.mails = append(l.mails, m)
	return nil
}

func (l *letterbox) Text(_ context.Context, t mail.Text) error {
	l.texts = append(l.texts, t)
	return nil
}

// town is a door with a letterbox, and people with sessions.
type town struct {
	*door
	t      *testing.T
	box    letterbox
	run    *jobs.Runner
	people map[string][]string // headers of their sessions
}

func newTown(t *testing.T, names ...string) *town {
	t.Helper()
	w := &town{t: t, people: map[string][]string{}}
	w.door = openDoor(t, func(o *Options) {
		o.CanMail, o.CanText, o.Address = true, true, func() string { return "https://keys.example.org" }
	})
	w.run = jobs.NewRunner(jobs.Options{Store: w.store, Clock: w.clock.Now, Logger: slog.New(slog.DiscardHandler)})
	mail.Deliver(w.run, &w.box)
	w.Work(w.run)
	for _, n := range names {
		s, err := w.signUp(t, n).NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.people[n] = []string{"X-Keybase-Session", s.Token, "X-CSRF-Token", s.CSRF}
	}
	return w
}

// call asks as somebody and returns status code and body. args are url.Values for a form
// or a query, anything else is JSON.
func (w *town) call(who, method, endpoint string, args any) (int, string) {
	w.t.Helper()
	path, contentType, body := apiPrefix+endpoint+".json", "application/json", ""
	switch a := args.(type) {
	case nil:
	case url.Values:
		if contentType = "application/x-www-form-urlencoded"; method == get {
			path += "?" + a.Encode()
		} else {
			body = a.Encode()
		}
	default:
		b, err := json.Marshal(a)
		if err != nil {
			w.t.Fatal(err)
		}
		body = string(b)
	}
	_, answer, _ := w.ask(w.t, method, path, contentType, body, w.people[who]...)
	code, _ := statusIn(w.t, endpoint, answer)
	return code, answer
}

func (w *town) want(code int, who, method, endpoint string, args any) string {
	w.t.Helper()
	got, answer := w.call(who, method, endpoint, args)
	if got != code {
		w.t.Errorf("%s: %s %s %v: status %d, not %d: %s", who, method, endpoint, args, got, code, answer)
	}
	return answer
}

// deliver carries away what waits, reminders first.
func (w *town) deliver() {
	w.t.Helper()
	for range 2 {
		if _, err := w.run.RunDue(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// link is the path of the link in the newest mail to an address.
func (w *town) link(to string) string {
	w.t.Helper()
	w.deliver()
	for _, m := range slices.Backward(w.box.mails) {
		if m.To == to {
			if l := regexp.MustCompile(`https://keys\.example\.org(/\S+)`).FindStringSubmatch(m.Text); l != nil {
				return l[1]
			}
		}
	}
	w.t.Fatalf("no link was mailed to %s: %v", to, w.box.mails)
	return ""
}

// code is the code in the newest text message to a number.
func (w *town) code(to string) string {
	w.t.Helper()
	w.deliver()
	for _, x := range slices.Backward(w.box.texts) {
		if x.To == to {
			return regexp.MustCompile(`\d{6}`).FindString(strings.ReplaceAll(x.Text, to, ""))
		}
	}
	w.t.Fatalf("no code was sent to %s", to)
	return ""
}

// news lists the categories of what a user's devices were told of addresses, in order.
func (w *town) news() (out []string) {
	w.t.Helper()
	v := w.store.View()
	defer v.Close()
	if err := v.Scan(keys.Events(), keys.End(keys.Events()), func(_, b []byte) error {
		r, err := store.Decode[events.Record](b)
		if strings.HasPrefix(r.Category, "email.") || strings.HasPrefix(r.Category, "phone.") {
			out = append(out, r.Category+string(r.Body))
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return out
}

type js = map[string]any

// TestMailAddresses proves the whole life of mail addresses: codes and limits as clients
// know them, primary and visibility, the list in its types, and what devices are told.
func TestMailAddresses(t *testing.T) {
	w := newTown(t, "alice", "bobby")
	w.want(472, "alice", post, "email/add", js{"email": "nonsense", "visibility": 0})
	w.want(100, "alice", post, "email/add", js{"email": "a@example.org", "visibility": 2})
	w.want(0, "alice", post, "email/add", js{"email": "A@Example.org", "visibility": 0})
	w.want(714, "alice", post, "email/add", js{"email": "a@example.ORG", "visibility": 0})
	w.want(0, "alice", post, "email/add", js{"email": "b@example.org", "visibility": 1})
	list := w.want(0, "alice", get, "user/private", nil)
	for _, want := range []string{
		`{"email":"A@Example.org","is_primary":1,"is_verified":0,"visibility":0,"last_verify_email_date":`,
		`{"email":"b@example.org","is_primary":0,"is_verified":0,"visibility":1,"last_verify_email_date":`,
	} {
		if !strings.Contains(list, want) {
			t.Errorf("no %s in %s", want, list)
		}
	}
	w.want(716, "alice", post, "email/delete", js{"email": "a@example.org"})
	w.want(717, "alice", post, "email/delete", js{"email": "c@example.org"})
	w.want(717, "alice", post, "email/set-primary", js{"email": "c@example.org"})
	w.want(717, "alice", post, "email/send-verify", js{"email": "c@example.org"})
	w.want(717, "alice", post, "email/set-visibility", js{"email": "c@example.org", "visibility": 1})
	w.want(0, "alice", post, "email/set-primary", js{"email": "b@example.org"})
	w.want(0, "alice", post, "email/delete", js{"email": "a@example.org"})
	w.want(0, "alice", post, "email/delete", js{"email": "b@example.org"}) // the last one may go
	want := []string{
		`email.added{"email":"A@Example.org"}`, `email.unverified_count{"unverified_count":1}`,
		`email.added{"email":"b@example.org"}`, `email.unverified_count{"unverified_count":2}`,
		`email.primary_changed{"email":"b@example.org"}`,
		`email.deleted{"email":"A@Example.org"}`, `email.unverified_count{"unverified_count":1}`,
		`email.deleted{"email":"b@example.org"}`, `email.unverified_count`,
	}
	if got := w.news(); !slices.Equal(got, want) {
		t.Errorf("devices were told\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range 10 {
		w.want(0, "bobby", post, "email/add", js{"email": fmt.Sprintf("b%d@example.org", i)})
	}
	w.want(715, "bobby", post, "email/add", js{"email": "b10@example.org"})
}

// TestVerificationByLink proves that the link in a mail verifies when its button is
// pressed and not when it is opened, once and within its time, and that only a verified
// public address leads to its user.
func TestVerificationByLink(t *testing.T) {
	w := newTown(t, "alice", "bobby")
	const a = "alice@example.org"
	w.want(0, "alice", post, "email/add", js{"email": a, "visibility": 1})
	old := w.link(a)
	w.want(0, "alice", post, "email/send-verify", js{"email": a})
	path := w.link(a)
	search := func(found bool) {
		t.Helper()
		if got := strings.Contains(w.want(0, "bobby", get, "email/search", url.Values{"email": {"Alice@example.org"}}), `"username":"alice"`); got != found {
			t.Errorf("the search finds alice: %t, not %t", got, found)
		}
	}
	page := func(method, path string, want int) {
		t.Helper()
		if code, body, _ := w.ask(t, method, path, "", ""); code != want {
			t.Errorf("%s %s: HTTP %d, not %d: %s", method, path, code, want, body)
		}
	}
	page(get, path, 200)
	search(false)
	page(post, old, 404) // a newer mail has been sent
	page(post, path[:len(path)-1]+"x", 404)
	page(post, verifyPath+"nonsense", 404)
	w.clock.Advance(8 * 24 * time.Hour)
	page(post, path, 404)
	w.want(202, "alice", get, "user/private", nil) // the session is over, too
}

// TestOneVerifiedOwner proves that naming an address tells nothing of others who name it,
// that who verifies it first has it, and that it is free again when deleted; and that
// going private ends being found.
func TestOneVerifiedOwner(t *testing.T) {
	w := newTown(t, "alice", "bobby", "carol")
	const a = "shared@example.org"
	w.want(0, "alice", post, "email/add", js{"email": a, "visibility": 1})
	hers := w.link(a)
	w.want(0, "bobby", post, "email/add", js{"email": a, "visibility": 1})
	his := w.link(a)
	if code, body, _ := w.ask(t, post, hers, "", ""); code != 200 {
		t.Fatal(body)
	}
	if code, body, _ := w.ask(t, post, his, "", ""); code != 409 {
		t.Errorf("a second owner: HTTP %d: %s", code, body)
	}
	w.want(713, "carol", post, "email/add", js{"email": a})
	w.want(100, "alice", post, "email/send-verify", js{"email": a})
	found := func() bool {
		return strings.Contains(w.want(0, "carol", get, "email/search", url.Values{"email": {a}}), `"username":"alice"`)
	}
	if !found() {
		t.Error("alice is not found")
	}
	w.want(0, "alice", post, "email/set-visibility", js{"all": true, "visibility": 0})
	if found() {
		t.Error("alice is found by a private address")
	}
	w.want(0, "alice", post, "email/delete", js{"email": a})
	w.want(0, "carol", post, "email/add", js{"email": a})
	if code, body, _ := w.ask(t, post, his, "", ""); code != 200 {
		t.Errorf("the address is not free: HTTP %d: %s", code, body)
	}
}

// TestPhones proves the whole life of telephone numbers: codes that expire and end after
// wrong tries, the later owner superseding the earlier, and what devices are told.
func TestPhones(t *testing.T) {
	w := newTown(t, "alice", "bobby")
	const n = "+15550123456"
	for _, bad := range []string{"", "15550123456", "+05550123456", "+1555012345678901", "+1555 0123456"} {
		w.want(100, "alice", post, "user/phone_numbers", js{"phone_number": bad, "visibility": 1})
	}
	w.want(3400, "alice", del, "user/phone_numbers", js{"phone_number": n})
	w.want(3400, "alice", post, "user/phone_number_verify", js{"phone_number": n, "verification_code": "1"})
	w.want(0, "alice", post, "user/phone_numbers", js{"phone_number": n, "visibility": 1})
	for range 5 {
		w.want(3403, "alice", post, "user/phone_number_verify", js{"phone_number": n, "verification_code": "x"})
	}
	w.want(3402, "alice", post, "user/phone_number_verify", js{"phone_number": n, "verification_code": w.code(n)})
	w.want(0, "alice", post, "user/phone_numbers", js{"phone_number": n, "visibility": 1})
	late := w.code(n)
	w.clock.Advance(31 * time.Minute)
	w.want(3402, "alice", post, "user/phone_number_verify", js{"phone_number": n, "verification_code": late})
	w.want(0, "alice", post, "user/phone_numbers", js{"phone_number": n, "visibility": 1})
	w.want(0, "alice", post, "user/phone_number_verify", js{"phone_number": n, "verification_code": w.code(n)})
	w.want(3401, "alice", post, "user/phone_numbers", js{"phone_number": n, "visibility": 1})
	find := func() string {
		return w.want(0, "bobby", get, "user/phone_numbers_search", url.Values{"phone_number": {n}})
	}
	if a := find(); !strings.Contains(a, `"username":"alice"`) {
		t.Errorf("alice is not found: %s", a)
	}
	w.clock.Advance(time.Second)
	w.want(0, "bobby", post, "user/phone_numbers", js{"phone_number": n, "visibility": 0})
	w.want(0, "bobby", post, "user/phone_number_verify", js{"phone_number": n, "verification_code": w.code(n)})
	if a := find(); !strings.Contains(a, `"user":null`) {
		t.Errorf("somebody is found by a private number: %s", a)
	}
	if a := w.want(0, "alice", get, "user/phone_numbers", nil); !strings.Contains(a, `"verified":true,"superseded":true,"visibility":1`) {
		t.Errorf("not superseded: %s", a)
	}
	w.want(0, "bobby", post, "user/phone_number_visibility", js{"phone_number": n, "visibility": 1})
	w.want(0, "alice", del, "user/phone_numbers", js{"phone_number": n})
	if a := find(); !strings.Contains(a, `"username":"bobby"`) {
		t.Errorf("bobby is not found: %s", a)
	}
	var told []string
	for _, x := range w.news() {
		if !strings.Contains(x, "unverified_count") {
			told = append(told, strings.TrimSuffix(x, `{"phone":"`+n+`"}`))
		}
	}
	if got := strings.Join(told, " "); got != "phone.added phone.verified phone.added phone.superseded phone.verified phone.visibility_changed phone.deleted" {
		t.Errorf("devices were told: %s", got)
	}
	for i := range 9 {
		w.want(0, "bobby", post, "user/phone_numbers", js{"phone_number": fmt.Sprintf("+1555019345%d", i), "visibility": 0})
	}
	w.want(3404, "bobby", post, "user/phone_numbers", js{"phone_number": "+15550123499", "visibility": 0})
}

// TestContacts proves that a look-up resolves verified public addresses only, under the
// keys as they were sent, that what was looked up before costs nothing with its token,
// and that there is an end to looking up.
func TestContacts(t *testing.T) {
	w := newTown(t, "alice", "bobby")
	const n, a = "+15550123456", "alice@example.org"
	w.want(0, "alice", post, "user/phone_numbers", js{"phone_number": n, "visibility": 1})
	w.want(0, "alice", post, "user/phone_number_verify", js{"phone_number": n, "verification_code": w.code(n)})
	w.want(0, "alice", post, "email/add", js{"email": a, "visibility": 1}) // public, not verified
	type reply struct {
		Resolutions map[string]struct{ UID, Coerced, Err string }
		Token       string
		ValidateErr string `json:"validate_err"`
		Resolved    int    `json:"resolved_freshness_ms"`
		Unresolved  int    `json:"unresolved_freshness_ms"`
	}
	look := func(contacts []js, token string, code int) (r reply) {
		t.Helper()
		if err := json.Unmarshal([]byte(w.want(code, "bobby", post, "contacts/lookup", js{"contacts": contacts, "token": token, "supports_tokens": 1})), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := look([]js{{"p": "+1 (555) 012-3456"}, {"e": "Alice@example.org"}, {"p": "555-0123456"}, {"e": "x"}, {}}, "", 0)
	if got := r.Resolutions["p:+1 (555) 012-3456"]; got.UID == "" || got.Coerced != n {
		t.Errorf("the number: %+v", r)
	}
	if _, found := r.Resolutions["e:Alice@example.org"]; found || r.Resolutions["p:555-0123456"].Err == "" || r.Resolutions["e:x"].Err == "" || r.Resolved == 0 || r.Unresolved == 0 {
		t.Errorf("%+v", r)
	}
	book := make([]js, 4990)
	for i := range book {
		book[i] = js{"e": fmt.Sprintf("%d@example.org", i)}
	}
	r = look(book, r.Token, 0)
	again := look(book, r.Token, 0)
	look([]js{{"e": "z1@example.org"}, {"e": "z2@example.org"}, {"e": "z3@example.org"}}, again.Token, 0)
	look(book, "", 602) // without the token they are new ones
	if r := look(book[:1], "bm9uc2Vuc2U=", 0); r.ValidateErr == "" || r.Token == "" {
		t.Errorf("a wrong token: %+v", r)
	}
	look(append(book, book[:20]...), again.Token, 100) // too long
	for _, bad := range []string{"", "[]", `{"contacts":{}}`, `{"contacts":[[]]}`, `{"contacts":[]} {}`, `{"token":7}`, `{"contacts":[],"contacts":[]}`} {
		_, answer, _ := w.ask(t, post, apiPrefix+"contacts/lookup.json", "application/json", bad, w.people["alice"]...)
		if code, _ := statusIn(t, bad, answer); code != 100 {
			t.Errorf("%s: %s", bad, answer)
		}
	}
	w.want(0, "alice", post, "contacts/resolved", js{"resolved_contact_blobs": []js{{"blob": "AAAA"}}})
	w.want(100, "alice", post, "contacts/resolved", js{"resolved_contact_blobs": []js{{"blob": "?"}}})
	w.want(0, "alice", post, "account/contact_settings", js{"settings": js{"enabled": true, "allow_followee_degrees": 2, "teams": []js{{"team_id": strings.Repeat("0", 30) + "24", "enabled": true}}}})
	w.want(100, "alice", post, "account/contact_settings", js{"settings": js{"allow_followee_degrees": 3}})
	if a := w.want(0, "alice", get, "account/contact_settings", nil); !strings.Contains(a, `{"version":1,"allow_followee_degrees":2,"allow_good_teams":false,"enabled":true,"teams":[{"team_id":"000000000000000000000000000000240000"`[:96]) {
		t.Errorf("settings: %s", a)
	}
}

// TestNobodyIsEnumerated proves that the answers to questions about an address do not
// tell whether somebody has it: reminders, salts, logins and searches are the same for
// one that somebody holds in private and one that nobody has, and the mail goes only to
// whom it concerns.
func TestNobodyIsEnumerated(t *testing.T) {
	w := newTown(t, "alice", "bobby")
	const private, strange = "alice@example.org", "nobody@example.org"
	w.want(0, "alice", post, "email/add", js{"email": private, "visibility": 0})
	if code, body, _ := w.ask(t, post, w.link(private), "", ""); code != 200 {
		t.Fatal(body)
	}
	w.box = letterbox{}
	hide := regexp.MustCompile(`"(salt|login_session|token)":"[^"]*"`)
	same := func(who, method, endpoint string, args func(address string) any) {
		t.Helper()
		_, a := w.call(who, method, endpoint, args(private))
		_, b := w.call(who, method, endpoint, args(strange))
		if a, b := hide.ReplaceAllString(a, "$1"), hide.ReplaceAllString(b, "$1"); a != b {
			t.Errorf("%s tells who has an address:\n%s\n%s", endpoint, a, b)
		}
	}
	form := func(name string) func(string) any {
		return func(a string) any { return url.Values{name: {a}, "pdpka4": {"x"}, "pdpka5": {"x"}} }
	}
	same("", post, "account/recover_username", form("email"))
	same("", post, "send-reset-pw", form("email_or_username"))
	same("", get, "getsalt", form("email_or_username"))
	same("", post, "login", form("email_or_username"))
	same("bobby", get, "email/search", form("email"))
	same("bobby", post, "contacts/lookup", func(a string) any { return js{"contacts": []js{{"e": a}}, "token": "nonsense"} })
	salt := func(name string) string {
		return regexp.MustCompile(`"salt":"[^"]*"`).FindString(w.want(0, "", get, "getsalt", url.Values{"email_or_username": {name}}))
	}
	first, again := salt(private), salt(private)
	if first == salt("alice") || first != again || salt(strange) == first {
		t.Error("the salt of a private address is alice's, or not the same each time, or that of another address")
	}
	w.want(203, "", post, "send-reset-pw", url.Values{"email_or_username": {"stranger"}})
	w.want(0, "", post, "send-reset-pw", url.Values{"email_or_username": {"bobby"}}) // who has no address
	w.deliver()
	for _, m := range w.box.mails {
		if m.To != private || !strings.Contains(m.Text, "alice") {
			t.Errorf("a mail to %s: %s", m.To, m.Text)
		}
	}
	if len(w.box.mails) != 2 {
		t.Errorf("%d mails were sent, not a reminder of the name and one about the password", len(w.box.mails))
	}
}

// TestInvitationsByUsers proves that an invitation by a user lets somebody in, is mailed,
// comes to an end for a day, and that where the operator lets people in, users do not.
func TestInvitationsByUsers(t *testing.T) {
	w := newTown(t, "alice")
	args := url.Values{"email": {"friend@example.org"}, "invitation_message": {"come\r\nBcc: x"}, "note_to_self": {""}}
	w.Signup = "invitation"
	w.want(210, "alice", post, "send_invitation", args)
	w.Signup = "open"
	answer := w.want(0, "alice", post, "send_invitation", args)
	var reply struct {
		ID   string `json:"invitation_id"`
		Code string `json:"short_code"`
	}
	if err := json.Unmarshal([]byte(answer), &reply); err != nil || len(reply.ID) < 10 {
		t.Fatalf("%v: %s", err, answer)
	}
	w.deliver()
	if len(w.box.mails) != 1 || !strings.Contains(w.box.mails[0].Text, reply.Code) {
		t.Errorf("mails: %+v", w.box.mails)
	}
	w.want(0, "", get, "invitation/check", url.Values{"invitation_id": {reply.Code}})
	w.want(0, "alice", post, "invite_friends/invite", js{"assertions": []string{"[b@example.org]@email", "15550123456@phone"}})
	w.want(100, "alice", post, "invite_friends/invite", js{"assertions": []string{"bob@twitter"}})
	args.Del("email")
	for range 17 {
		w.want(0, "alice", post, "send_invitation", args)
	}
	w.want(210, "alice", post, "send_invitation", args)
}

// TestNoWayOut proves that a server without a way for messages says so where somebody
// would wait for one, and keeps none.
func TestNoWayOut(t *testing.T) {
	w := newTown(t, "alice")
	w.CanMail, w.CanText = false, false
	w.want(0, "alice", post, "email/add", js{"email": "a@example.org"})
	if _, answer := w.call("alice", post, "email/send-verify", js{"email": "a@example.org"}); !strings.Contains(answer, "this server sends no mail") {
		t.Errorf("%s", answer)
	}
	if _, answer := w.call("alice", post, "user/phone_numbers", js{"phone_number": "+15550123456"}); !strings.Contains(answer, "this server sends no text messages") {
		t.Errorf("%s", answer)
	}
	w.want(0, "", post, "account/recover_username", url.Values{"email": {"a@example.org"}})
	w.deliver()
	if len(w.box.mails)+len(w.box.texts) != 0 {
		t.Errorf("sent: %+v", w.box)
	}
}

// FuzzContacts looks for bodies that the reader of address books takes beyond its limits
// or stumbles over.
func FuzzContacts(f *testing.F) {
	for _, s := range []string{`{"contacts":[{"e":"a@b.cc"},{"p":"+15550123456"}],"token":"","supports_tokens":1}`, `{}`, `{"contacts":[`, `{"x":[[[]]]}`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ask, err := readContacts(body)
		if err == nil && (len(ask.Contacts) > contactsPerLookupMax || !json.Valid(body)) {
			t.Errorf("%d contacts out of %q", len(ask.Contacts), body)
		}
		for _, k := range ask.Contacts {
			if normal, fault := k.normal(); fault == "" && normal == "" {
				t.Errorf("%+v is nothing", k)
			}
		}
	})
}

// TestSearchSpent proves that who has looked for as many people as they may in a day is
// told so with the status on which clients give up, instead of inviting strangers; that
// others go on, and the day after everybody does.
func TestSearchSpent(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t, func(o *Options) { o.Devel = true })
	alice, bobby := d.signUp(t, "alice"), d.signUp(t, "bobby")
	search := func(a *client.Account, endpoint, field, value string) error {
		_, err := a.Server().Get(ctx, endpoint, url.Values{field: {value}}, a.NIST(a.Device))
		return err
	}
	if _, err := alice.Server().Post(ctx, "test/disable_tofu_search_for_uid", nil, alice.NIST(alice.Device)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantCode(t, "an address", search(alice, "email/search", "email", "carol@example.org"), 602)
		wantCode(t, "a number", search(alice, "user/phone_numbers_search", "phone_number", "+15555551234"), 602)
		if err := search(bobby, "email/search", "email", "carol@example.org"); err != nil {
			t.Error(err)
		}
	}
	d.clock.Advance(24 * time.Hour)
	if err := search(alice, "email/search", "email", "carol@example.org"); err != nil {
		t.Error(err)
	}
}
