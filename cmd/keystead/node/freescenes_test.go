package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybase/go-codec/codec"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/autoreset"
	shown "github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/merklehot/keyboxes"
)

// The scenes here are requests that nobody signs: of those a server takes many a mutant,
// since it says something else that is as right. What it must not take are mutants that
// say nothing, or that only seem to be the request.

// form is a scene of a form that alice's computer posts.
func form(endpoint string, args url.Values) func(context.Context, *cast) error {
	return func(ctx context.Context, c *cast) error {
		_, err := c.alice.Server().Post(ctx, endpoint, args, c.alice.NIST(c.alice.Device))
		return err
	}
}

// document is likewise one of JSON.
func document(endpoint string, args map[string]any) func(context.Context, *cast) error {
	return func(ctx context.Context, c *cast) error {
		_, err := c.alice.Server().PostJSON(ctx, endpoint, args, c.alice.NIST(c.alice.Device))
		return err
	}
}

// all does one thing after the other.
func all(steps ...func(context.Context, *cast) error) func(context.Context, *cast) error {
	return func(ctx context.Context, c *cast) error {
		for _, step := range steps {
			if err := step(ctx, c); err != nil {
				return err
			}
		}
		return nil
	}
}

var (
	twoMails = all(document("email/add", map[string]any{"email": "a1@example.org"}), document("email/add", map[string]any{"email": "a2@example.org"}))
	mailArgs = map[string]any{"email": "a2@example.org"}
	showMail = map[string]any{"email": "a2@example.org", "visibility": 1}
	phone    = map[string]any{"phone_number": "+14155550123", "visibility": 0}
	bobUID   = client.UIDOf("bob").String()
	accept   = form("stellar/disclaimer", nil)
	settings = map[string]any{"settings": map[string]any{
		"allow_followee_degrees": 1, "allow_good_teams": true, "enabled": true,
		"teams": []any{map[string]any{"team_id": "0123456789abcdef0123456789abcd24", "enabled": true}},
	}}
)

// waiting is a reset that waits, asked for with a session of alice.
func waiting(ctx context.Context, c *cast) (err error) {
	c.asked, err = client.Login(ctx, c.alice.Verifier, "alice", "", client.CheapStream([]byte("alice")))
	if err == nil {
		err = c.asked.EnterReset(ctx, true)
	}
	return err
}

// ready is a reset that has waited long enough, here no time.
func ready(ctx context.Context, c *cast) error {
	if err := waiting(ctx, c); err != nil {
		return err
	}
	for late := time.After(mailPatience); ; {
		w, err := c.asked.ResetStatus(ctx, c.asked.Session)
		if err != nil {
			return err
		}
		if w != nil && w.Event == int(autoreset.EventReady) {
			return nil
		}
		select {
		case <-late:
			return fmt.Errorf("the reset is never ready: %+v", w)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// proven is a proof that has been published.
func proven(ctx context.Context, c *cast) (err error) {
	text, id, err := c.alice.Prove(ctx, "rooter", "alice")
	if err == nil {
		c.proof, err = id, form("rooter", url.Values{"post": {text}})(ctx, c)
	}
	return err
}

// walletKey is that of alice's wallet.
var walletKey = client.NewSigningKey(client.Seed{7})

func walletStands(ctx context.Context, c *cast) error {
	if err := c.alice.SetWallet(ctx, walletKey); err != nil {
		return err
	}
	return accept(ctx, c)
}

// putWallet posts the first revision of a wallet with one account.
func putWallet(ctx context.Context, c *cast) error {
	pack := func(v any) (text string, hash []byte) {
		var b []byte
		if err := codec.NewEncoderBytes(&b, &codec.MsgpackHandle{WriteExt: true}).Encode(v); err != nil {
			panic(err)
		}
		h := sha256.Sum256(b)
		return base64.StdEncoding.EncodeToString(b), h[:]
	}
	box := map[string]any{"v": 2, "e": bytes.Repeat([]byte{1}, 40), "n": make([]byte, 24), "gen": len(c.alice.PUKs)}
	id := client.StellarAccount(walletKey)
	bundle, hash := pack(box)
	visible, _ := pack(map[string]any{"revision": 1, "prev": []byte{}, "accounts": []any{map[string]any{
		"accountID": id, "mode": keyboxes.WalletUser, "isPrimary": true, "acctBundleRevision": 1, "encAcctBundleHash": hash,
	}}})
	return document("stellar/acctbundle", map[string]any{"stellar": map[string]any{
		"encrypted_parent": bundle, "visible_parent": visible, "version_parent": 2,
		"account_bundles": map[string]any{id: map[string]any{"EncB64": bundle}},
	}})(ctx, c)
}

// picture is a small image.
var picture = func() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		img.Set(i%4, i/4, color.RGBA{uint8(i * 16), uint8(255 - i), 90, 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}()

var freeScenes = []scene{
	{name: "picture", endpoint: "image/upload_user_avatar", ask: func(ctx context.Context, c *cast) error {
		return c.alice.UploadPicture(ctx, picture, 1, 1, 3, 3)
	}},
	{name: "picture from elsewhere", endpoint: "image/set_preference", ask: form("image/set_preference", url.Values{"identity_src": {strconv.Itoa(int(shown.PictureGitHub))}})},
	{name: "profile", endpoint: "profile-edit", ask: form("profile-edit", url.Values{"full_name": {"Alice A."}, "location": {"here"}, "bio": {"none"}})},
	{name: "block", endpoint: "user/set_blocks", ask: func(ctx context.Context, c *cast) error {
		on, off := true, false
		return c.alice.SetBlocks(ctx, client.BlockRow{UID: bobUID, Chat: &on, Follow: &off})
	}},
	{name: "block wholly", endpoint: "user/block", ask: form("user/block", url.Values{"block_uid": {bobUID}})},
	{name: "bot token", endpoint: "bot/token/create", ask: form("bot/token/create", nil)},
	{
		name: "end a bot token", endpoint: "bot/token/delete",
		before: func(ctx context.Context, c *cast) (err error) {
			c.botToken, err = c.alice.NewBotToken(ctx)
			return err
		},
		ask: func(ctx context.Context, c *cast) error { return c.alice.DeleteBotToken(ctx, c.botToken) },
	},
	{name: "look for a proof", endpoint: "sig/posted", devel: true, before: proven, ask: func(ctx context.Context, c *cast) error {
		_, _, _, err := c.alice.LookFor(ctx, c.proof)
		return err
	}},
	{name: "cancel a reset", endpoint: "autoreset/cancel", before: waiting, ask: func(ctx context.Context, c *cast) error {
		return c.alice.CancelReset(ctx, c.alice.NIST(c.alice.Device))
	}},
	{name: "finish a reset", endpoint: "autoreset/reset", hasty: true, before: ready, ask: func(ctx context.Context, c *cast) error {
		return c.asked.FinishReset(ctx)
	}},
	{name: "delete a mail address", endpoint: "email/delete", before: twoMails, ask: document("email/delete", mailArgs)},
	{name: "primary mail address", endpoint: "email/set-primary", before: twoMails, ask: document("email/set-primary", mailArgs)},
	{name: "show a mail address", endpoint: "email/set-visibility", before: twoMails, ask: document("email/set-visibility", showMail)},
	{name: "another verification mail", endpoint: "email/send-verify", devel: true, before: twoMails, ask: document("email/send-verify", mailArgs)},
	{name: "add a number", endpoint: "user/phone_numbers", devel: true, ask: document("user/phone_numbers", phone)},
	{name: "contact settings", endpoint: "account/contact_settings", ask: document("account/contact_settings", settings)},
	{name: "disclaimer", endpoint: "stellar/disclaimer", ask: accept},
	{name: "wallet's secrets", endpoint: "stellar/acctbundle", before: walletStands, ask: putWallet},
	{
		name: "wallet's currency", endpoint: "stellar/accountcurrency", before: all(walletStands, putWallet),
		ask: form("stellar/accountcurrency", url.Values{"account_id": {client.StellarAccount(walletKey)}, "currency": {"EUR"}}),
	},
	{name: "folder", endpoint: "kbfs/favorite/add", ask: func(ctx context.Context, c *cast) error {
		return c.alice.SetFavorite(ctx, client.FolderPrivate, "alice,bob", false)
	}},
	{name: "skip a thing to do", endpoint: "home/todo/skip", ask: form("home/todo/skip", url.Values{"type": {"6"}})},
	{name: "push token", endpoint: "device/push_token", ask: func(ctx context.Context, c *cast) error {
		return form("device/push_token", url.Values{
			"push_token": {fmt.Sprintf("%064x", 1)}, "token_type": {"apple"}, "device_id": {c.alice.Device.ID.String()},
		})(ctx, c)
	}},
	{name: "invite", endpoint: "send_invitation", ask: form("send_invitation", url.Values{"email": {"x@example.org"}, "invitation_message": {""}, "note_to_self": {""}})},
}

// partMutants changes every part of a multipart form. Files have every bit flipped.
func (q request) partMutants() []mutant {
	_, boundary, _ := strings.Cut(q.contentType, "boundary=")
	mark, end := "--"+boundary+"\r\n", "\r\n--"+boundary+"--\r\n"
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(q.body, mark), end), "\r\n"+mark)
	set := func(i int, to ...string) func(*request) {
		return func(r *request) {
			r.body = mark + strings.Join(slices.Replace(slices.Clone(parts), i, i+1, to...), "\r\n"+mark) + end
		}
	}
	out := []mutant{
		{"body", "no end", func(r *request) { r.body = strings.TrimSuffix(r.body, end) }},
		{"body", "no parts", func(r *request) { r.body = "--" + boundary + "--\r\n" }},
		{"content type", "other boundary", func(r *request) { r.contentType += "x" }},
		{"content type", "no boundary", func(r *request) { r.contentType, _, _ = strings.Cut(r.contentType, ";") }},
	}
	for i, p := range parts {
		head, data, _ := strings.Cut(p, "\r\n\r\n")
		_, name, _ := strings.Cut(head, `name="`)
		name, _, _ = strings.Cut(name, `"`)
		add := func(what string, change func(*request)) { out = append(out, mutant{name, what, change}) }
		with := func(head, data string) string { return head + "\r\n\r\n" + data }
		add("drop", set(i))
		add("double", set(i, p, p))
		add("empty", set(i, with(head, "")))
		add("upper name", set(i, with(strings.Replace(head, `"`+name+`"`, `"`+strings.ToUpper(name)+`"`, 1), data)))
		add("no name", set(i, with(strings.Replace(head, `; name="`+name+`"`, "", 1), data)))
		add("no head", set(i, data))
		if i+1 < len(parts) {
			add("swap", func(r *request) {
				set(i, parts[i+1])(r)
				r.body = strings.Replace(r.body, parts[i+1]+"\r\n"+mark+parts[i+1], parts[i+1]+"\r\n"+mark+p, 1)
			})
		}
		if !strings.Contains(head, "filename") {
			for _, v := range values(data) {
				add(v.what, func(r *request) { set(i, with(head, v.text()))(r) })
			}
			continue
		}
		add("no file", set(i, with(strings.Replace(head, `filename="image"`, "", 1), data)))
		add("cut", set(i, with(head, data[:len(data)-1])))
		add("byte after", set(i, with(head, data+"\x00")))
		add("byte before", set(i, with(head, "\x00"+data)))
		for at := range 8 * len(data) {
			add("bit", func(r *request) {
				b := []byte(data)
				b[at/8] ^= 1 << (at % 8)
				set(i, with(head, string(b)))(r)
			})
		}
	}
	return out
}

// The kinds of these scenes.
const (
	freeDocuments = `block|finish a reset|(delete a|primary|show a) mail address|another verification mail|add a number|contact settings|wallet's secrets`
	freeForms     = `picture from elsewhere|profile|block wholly|bot token|end a bot token|look for a proof|cancel a reset|disclaimer|wallet's currency|folder|skip a thing to do|push token|invite`
	noArguments   = `bot token|disclaimer`
)

// freeHarmless are the mutants of these scenes that a server may take.
var freeHarmless = []harm{
	// What says the same.
	{freeDocuments, `content type`, `.*`, "the endpoint takes nothing but JSON"},
	{freeDocuments, `body`, `(space|newline) (before|after)`, "white space"},
	{freeDocuments, `.*`, `space|escaped|escaped name|upper name`, "the same document, written otherwise"},
	{freeDocuments, `.*`, `add`, "a name that means nothing here"},
	{freeDocuments, `(.*\.)?[a-z0-9_]+`, `swap`, "members have no order"},
	{freeForms, `.*`, `escaped|escaped name|add|swap|in query|semicolon`, "the same form, written otherwise"},
	{freeForms, `.*`, `double|other last|empty last`, "the first counts"},
	{freeForms, `.*`, `other in query`, "the form counts before the query"},
	{freeForms, `body`, `space after|newline after|nul after|twice|mark before`, "hits an argument that is free, see there"},
	{noArguments, `|body|content type`, `.*`, "it has no arguments"},
	{`disclaimer|wallet's .*|contact settings|add a number`, `method`, `GET`, "another endpoint, which reads"},

	// What says something else that is as right.
	{`picture`, `[xy][01]`, `inc|dec|number`, "another cut"},
	{`picture`, `[xy][01]`, `sign|lead`, "the same number"},
	{`picture`, `avatar`, `byte after`, "what follows the image is not read"},
	{`picture from elsewhere`, `identity_src`, `dec`, "from the other place"},
	{`picture`, `.*`, `swap`, "parts have no order"},
	{`profile`, `full_name|location|bio`, `.*`, "other words, or none"},
	{`picture`, `avatar|[xy][01]`, `double`, "the same again"},
	{`picture`, `avatar`, `no file`, "an image is one whether it is called a file or not"},
	{`picture`, `body`, `(space|newline|nul) after|twice`, "what follows the form is not read"},
	{`block`, `blocks\.0\.(chat|follow)`, `null|drop|true`, "only the other is said, or another thing"},
	{`block`, `blocks\.0`, `again`, "the same again"},
	{`cancel a reset|finish a reset`, `src||body`, `.*`, "where it was asked for is not read"},
	{`cancel a reset`, `content type`, `.*`, "where it was asked for is not read"},
	{`contact settings`, `settings(\..*)?`, `drop|null|inc|dec|number|flip|object|array|again|upper`, "other settings, or the same"},
	{`folder`, `tlf_name`, `.*`, "another folder"},
	{`folder`, `folder_type`, `inc|lead`, "another folder, or the same"},
	{`skip a thing to do`, `type`, `inc|number|sign|lead`, "another thing, or the same"},
	{`add a number`, `phone_number`, `flip|longer|shorter`, "another number"},
	{`add a number`, `visibility`, `drop|null|inc|neg`, "public, or private"},
	{`show a mail address`, `visibility`, `dec`, "private"},
	{`(delete a|primary|show a) mail address|another verification mail`, `email`, `upper|(space|newline) (before|after)`, "the same address"},
	{`(primary|show a) mail address|another verification mail`, `email`, `flip`, "the other one"},
	{`wallet's secrets`, `stellar\.(.*\.EncB64|encrypted_parent|visible_parent)`, `broken lines|newline after`, "base64 may have line breaks"},
	{`wallet's secrets`, `stellar\.encrypted_parent`, `bit`, "sealed: only the owner can open it"},
	{`wallet's secrets`, `stellar\.visible_parent`, `bit`, "a name that means nothing here in the place of what is empty; the owner finds its hash in the sealed part"},
	{`push token`, `push_token`, `.*`, "what a token says is the push service's to know"},
	{`invite`, `.*`, `.*`, "another invitation"},
}
