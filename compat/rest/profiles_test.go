package rest

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/keys"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/store"
)

func picture(t testing.TB, c color.Color) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	for i := range 20 * 20 {
		m.Set(i%20, i/20, c)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestProfileAndSearch proves that what somebody writes about themselves is what others
// read and find, at once, and no longer when it is changed.
func TestProfileAndSearch(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bobby")
	must := mustOf(t)
	must(alice.EditProfile(ctx, " Boaty McBoatface ", "The Sea", "a vessel\nof two lines"))
	card, err := bob.Card(ctx, alice.UID)
	must(err)
	if p := card.Profile; p.FullName != "Boaty McBoatface" || p.Location != "The Sea" || p.Bio != "a vessel\nof two lines" {
		t.Fatalf("the card says %+v", p)
	}
	finds := func(text string, want ...string) {
		t.Helper()
		got, err := bob.SearchUsers(ctx, text, 10)
		must(err)
		if !slices.Equal(got, want) {
			t.Errorf("%q finds %q, not %q", text, got, want)
		}
	}
	finds("mcboat", "alice")
	finds("boaty mc", "alice")
	finds("boaty bobby")
	finds("ali", "alice")
	finds("lice")
	finds("")
	finds("\x00")
	finds(strings.Repeat("a", 1000))
	must(alice.EditProfile(ctx, "Al", "", ""))
	finds("mcboat")
	wantStatus(t, alice.EditProfile(ctx, strings.Repeat("x", 300), "", ""), 100)
	wantStatus(t, alice.EditProfile(ctx, "two\nlines", "", ""), 100)
	wantStatus(t, alice.EditProfile(ctx, "\xff", "", ""), 100)
	finds("al", "alice")
}

func mustOf(t testing.TB) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestPictures proves that a picture is served in each size that clients ask for, under
// an address that says what is there for ever, and that a bad image changes nothing.
func TestPictures(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	must := mustOf(t)
	srv := alice.Server()
	rows, err := srv.Pictures(ctx, "alice,nobody,alice", "square_192,square_360")
	must(err)
	if len(rows) != 3 || len(rows[0])+len(rows[1])+len(rows[2]) != 0 {
		t.Fatalf("pictures before there are any: %v", rows)
	}
	must(alice.UploadPicture(ctx, picture(t, color.NRGBA{255, 0, 0, 255})))
	rows, err = srv.Pictures(ctx, "nobody,Alice", "square_192,square_256,square_960,square_360,square_200,square_40,round_5")
	must(err)
	if len(rows) != 2 || len(rows[0]) != 0 || len(rows[1]) != 6 {
		t.Fatalf("pictures: %v", rows)
	}
	first := rows[1]["square_192"]
	for format, at := range rows[1] {
		code, body, h := d.ask(t, "GET", strings.TrimPrefix(at, d.uri), "", "")
		m, err := jpeg.DecodeConfig(strings.NewReader(body))
		if code != 200 || err != nil || "square_"+itoa(m.Width) != format || m.Width != m.Height {
			t.Errorf("%s: %d, %d by %d, %v", format, code, m.Width, m.Height, err)
		}
		if !strings.Contains(h.Get("Cache-Control"), "immutable") || h.Get("Content-Type") != "image/jpeg" {
			t.Errorf("%s: headers %v", format, h)
		}
		if code, _, _ := d.ask(t, "GET", strings.TrimPrefix(at, d.uri), "", "", "If-None-Match", h.Get("ETag")); code != 304 {
			t.Errorf("%s: %d to who has it", format, code)
		}
	}
	webp := func(name string) []byte {
		b, err := os.ReadFile("../../engine/pictures/testdata/" + name + ".webp")
		must(err)
		return b
	}
	for _, bad := range [][]byte{nil, []byte("RIFF....WEBP"), webp("animated"), []byte("\x89PNG\r\n\x1a\nrest"), picture(t, color.Black)[:60]} {
		wantStatus(t, alice.UploadPicture(ctx, bad), 100)
	}
	wantStatus(t, alice.UploadPicture(ctx, picture(t, color.Black), 5, 5, 25, 25), 100)
	wantStatus(t, alice.UploadPicture(ctx, picture(t, color.Black), 5, 5), 100)
	if rows, err = srv.Pictures(ctx, "alice", "square_192"); err != nil || rows[0]["square_192"] != first {
		t.Fatalf("a bad image changed the picture: %v %v", rows, err)
	}
	must(alice.UploadPicture(ctx, webp("alpha"), 0, 0, 10, 10))
	rows, err = srv.Pictures(ctx, "alice", "square_192")
	must(err)
	if rows[0]["square_192"] == first {
		t.Fatal("another picture has the same address")
	}
	for n, want := range []int{200, 404} {
		if code, _, _ := d.ask(t, "GET", strings.TrimPrefix(first, d.uri), "", ""); code != want {
			t.Errorf("the first picture after %d others: %d", n+1, code)
		}
		must(alice.UploadPicture(ctx, picture(t, color.NRGBA{0, 0, 255, 255})))
	}
	for _, odd := range []string{"", "/", "x/y/z", "../../etc/passwd", strings.Replace(strings.TrimPrefix(first, d.uri+picturesPrefix), "192", "193", 1)} {
		if code, _, _ := d.ask(t, "GET", picturesPrefix+odd, "", ""); code != 404 {
			t.Errorf("%q: %d", odd, code)
		}
	}
}

func itoa(n int) string { return strings.TrimPrefix(formatOf(uint16(n)), "square_") }

// TestBlocks proves that a block hides somebody from the followers, that only its owner
// sees it, that parts that are not sent stay, and that it is remembered.
func TestBlocks(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bobby")
	must := mustOf(t)
	must(bob.Follow(ctx, alice.UID))
	yes, no := true, false
	followers := func(want ...string) {
		t.Helper()
		got, err := alice.Server().Followers(ctx, alice.UID)
		must(err)
		if !slices.Equal(got, want) {
			t.Errorf("followers %q, not %q", got, want)
		}
		card, err := bob.Card(ctx, alice.UID)
		must(err)
		if card.FollowSummary.Followers != len(want) || card.UserBlocks.Chat || card.UserBlocks.Follow {
			t.Errorf("bobby sees %+v", card)
		}
	}
	followers("bobby")
	must(alice.SetBlocks(ctx, client.BlockRow{UID: bob.UID.String(), Chat: &yes}))
	followers("bobby")
	must(alice.SetBlocks(ctx, client.BlockRow{UID: bob.UID.String(), Follow: &yes}))
	followers()
	rows, err := alice.Blocks(ctx)
	must(err)
	if len(rows) != 1 || !*rows[0].Chat || !*rows[0].Follow || rows[0].CTime == 0 || rows[0].MTime == 0 {
		t.Fatalf("blocks %+v", rows)
	}
	card, err := alice.Card(ctx, bob.UID)
	must(err)
	if !card.UserBlocks.Chat || !card.UserBlocks.Follow {
		t.Fatal("alice does not see her block")
	}
	if rows, err = bob.Blocks(ctx); err != nil || len(rows) != 0 {
		t.Fatalf("bobby has blocks: %v %v", rows, err)
	}
	must(alice.SetBlocks(ctx, client.BlockRow{UID: bob.UID.String(), Chat: &no}, client.BlockRow{UID: bob.UID.String(), Follow: &no}))
	followers("bobby")
	if rows, err = alice.Blocks(ctx); err != nil || len(rows) != 1 || *rows[0].Chat {
		t.Fatalf("what was blocked once is forgotten: %v %v", rows, err)
	}
	wantStatus(t, alice.SetBlocks(ctx), 100)
	wantStatus(t, alice.SetBlocks(ctx, client.BlockRow{UID: bob.UID.String()}), 100)
	wantStatus(t, alice.SetBlocks(ctx, client.BlockRow{UID: alice.UID.String(), Chat: &yes}), 100)
	wantStatus(t, alice.SetBlocks(ctx, client.BlockRow{UID: client.UIDOf("nobody").String(), Chat: &yes}), 205)
	wantStatus(t, alice.SetBlocks(ctx, client.BlockRow{UID: "xyz", Chat: &yes}), 100)
	_, err = alice.Server().Post(ctx, "user/block", url.Values{"block_uid": {bob.UID.String()}, "unblock": {"0"}}, alice.NIST(alice.Device))
	must(err)
	followers()
}

// TestHome proves that a page asks for what is not done, no longer when it is done, that
// the badge then rests for a day, and that new followers are new until they are seen.
func TestHome(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bobby")
	must := mustOf(t)
	var version int64
	page := func(visit bool, todos, followers string) {
		t.Helper()
		p, err := alice.Home(ctx, visit)
		must(err)
		if got := strings.Join(p.Todos(), " "); got != todos {
			t.Errorf("to do: %s, not %s", got, todos)
		}
		if got := strings.Join(p.NewFollowers(), " "); got != followers {
			t.Errorf("followers: %s, not %s", got, followers)
		}
		if p.Version < version || p.Version < 1 {
			t.Errorf("version %d after %d", p.Version, version)
		}
		version = p.Version
	}
	page(false, "6! 1", "")
	must(alice.EditProfile(ctx, "", "", "a bio"))
	page(false, "6 23", "")
	_, _, err := alice.AddPaperKey(ctx, client.CheapStream([]byte("paper of alice")))
	must(err)
	must(alice.UploadPicture(ctx, picture(t, color.Black)))
	before := version
	page(false, "22 4", "")
	if version <= before {
		t.Error("the page changed, its version did not")
	}
	must(alice.SkipTodo(ctx, 22))
	page(false, "4 3", "")
	wantStatus(t, alice.SkipTodo(ctx, 0), 100)
	wantStatus(t, alice.SkipTodo(ctx, 5), 100)

	must(bob.Follow(ctx, alice.UID))
	d.clock.Advance(time.Second)
	page(true, "4 3", "bobby!")
	page(false, "4 3", "bobby")
	d.clock.Advance(25 * time.Hour)
	page(false, "4! 3", "bobby")
	yes := true
	must(alice.SetBlocks(ctx, client.BlockRow{UID: bob.UID.String(), Chat: &yes}))
	page(false, "4! 3", "")
}

// TestBotTokens proves that a bot can be signed up with a token as long as its owner
// keeps it, and with nothing that looks like one.
func TestBotTokens(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice := d.signUp(t, "alice")
	must := mustOf(t)
	token, err := alice.NewBotToken(ctx)
	must(err)
	if len(token) != 32 {
		t.Fatalf("a token of %d characters", len(token))
	}
	signUp := func(name, token string) string {
		form := goodSignUp(name)
		form.Set("bot_token", token)
		_, answer, _ := d.ask(t, post, apiPrefix+"signup.json", "application/x-www-form-urlencoded", form.Encode())
		return answer
	}
	if a := signUp("botty", token); !strings.Contains(a, `"code":0`) {
		t.Fatal(a)
	}
	wrong := []byte(token)
	wrong[0] ^= 1
	must(alice.DeleteBotToken(ctx, token))
	for _, bad := range []string{string(wrong), "x", token} {
		if a := signUp("robot", bad); !strings.Contains(a, `"code":719`) {
			t.Errorf("%q: %s", bad, a)
		}
	}
	wantStatus(t, alice.DeleteBotToken(ctx, token), 719)
}

// TestAnnouncements proves that what the operator announces stands on everybody's page,
// marked until they have looked, and no longer when they put it away, it is withdrawn or
// has ended; and that devices are told that there is something new when they look for it.
func TestAnnouncements(t *testing.T) {
	ctx := context.Background()
	d := openDoor(t)
	alice, bob := d.signUp(t, "alice"), d.signUp(t, "bobby")
	must := mustOf(t)
	announce := func(text string, lifetime time.Duration) (id int64) {
		t.Helper()
		must(d.store.Update(ctx, func(tx *store.Tx) error {
			a, err := people.Announce(tx, people.Announcement{Text: text, Link: "https://example.org/"}, lifetime)
			if err == nil {
				id = a.ID
			}
			return err
		}))
		return id
	}
	var announced int64
	page := func(a *client.Account, visit bool, want string) {
		t.Helper()
		p, err := a.Home(ctx, visit)
		must(err)
		if got := strings.Join(p.Announcements(), " "); got != want {
			t.Errorf("announced: %q, not %q", got, want)
		}
		announced = p.Announced
	}
	poll := func(want int) {
		t.Helper()
		n := func() (n int) {
			v := d.store.View()
			defer v.Close()
			must(v.Scan(keys.Events(), keys.End(keys.Events()), func(_, b []byte) error {
				if strings.Contains(string(b), "home.update") {
					n++
				}
				return nil
			}))
			return n
		}
		before := n()
		_, err := alice.Server().Get(ctx, "home/poll", nil, alice.NIST(alice.Device))
		must(err)
		if got := n() - before; got != want {
			t.Errorf("%d pieces of news of the page, not %d", got, want)
		}
	}
	page(alice, true, "")
	poll(0)
	d.clock.Advance(time.Minute)
	first := announce("first", 24*time.Hour)
	before := announced
	page(alice, false, "first!")
	if announced <= before {
		t.Errorf("version %d after %d", announced, before)
	}
	poll(1)
	poll(0)
	page(alice, true, "first!")
	page(alice, false, "first")
	d.clock.Advance(time.Minute)
	second := announce("second", time.Hour)
	page(alice, false, "second! first")
	must(alice.DismissAnnouncement(ctx, first))
	page(alice, false, "second!")
	page(bob, false, "second! first!")
	wantStatus(t, alice.DismissAnnouncement(ctx, 0), 100)
	must(d.store.Update(ctx, func(tx *store.Tx) error { _, err := people.Withdraw(tx, second); return err }))
	page(alice, false, "")
	page(bob, false, "first!")
	d.clock.Advance(25 * time.Hour)
	page(bob, false, "")
	poll(1)
}
