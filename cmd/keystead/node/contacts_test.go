package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/engine/accounts"
)

// The deeds here are about people's mail addresses and passwords.

// Codes about mail addresses and passwords.
const (
	codeMailTaken   = 713
	codeMailOwn     = 714
	codeMailTooMany = 715
	codeMailPrimary = 716
	codeMailUnknown = 717
	codeTooOften    = 602
)

// address is a mail address of somebody.
type address struct {
	text     string
	public   bool
	verified bool
	// letter is the number of the newest mail to it, among all mails to that address, 0
	// if that was used.
	letter int
}

// letter is a mail that verifies an address.
type letter struct {
	to string
	n  int // from 1
}

// mailSteps is after how many steps other addresses are in use, mailNames how many are
// at a time.
const (
	mailSteps = 500
	mailNames = 14
)

// someMail draws an address out of a few that everybody wants.
func (c *town) someMail() string {
	return fmt.Sprintf("m%d-%d@example.org", c.steps/mailSteps, c.rng.IntN(mailNames))
}

// drawMail draws an address, more often one of somebody's own.
func (c *town) drawMail(p *person) string {
	if len(p.mails) > 0 && c.rng.IntN(4) > 0 {
		return p.mails[c.rng.IntN(len(p.mails))].text
	}
	return c.someMail()
}

func (p *person) mail(text string) int {
	return slices.IndexFunc(p.mails, func(a *address) bool { return a.text == text })
}

// mayAsk reports whether somebody may ask for another mail today.
func (c *town) mayAsk(p *person) bool {
	return p.asked[c.now.Now().Unix()/86400] < accounts.VerifiesPerDayMax
}

// mailed notes that a deed has made a mail to an address.
func (c *town) mailed(p *person, a *address) {
	p.asked[c.now.Now().Unix()/86400]++
	c.letters[a.text]++
	a.letter = c.letters[a.text]
	c.meant[letter{a.text, a.letter}] = a
}

// isGood reports a letter that verifies an address of anybody, also of those who have left
// the town.
func (c *town) isGood(l letter) bool { return c.meant[l] != nil && c.meant[l].letter == l.n }

// wantMail is why somebody cannot have an address.
func (c *town) wantMail(p *person, text string) int {
	_, taken := c.owners[text]
	switch {
	case p.mail(text) >= 0:
		return codeMailOwn
	case len(p.mails) >= accounts.MailsMax:
		return codeMailTooMany
	case taken:
		return codeMailTaken
	case !c.mayAsk(p):
		return codeTooOften
	}
	return 0
}

func (c *town) addMail(ctx context.Context, p *person, s *seat) {
	text, visibility := c.drawMail(p), c.rng.IntN(2)
	if c.expect(p, "add a mail address", c.wantMail(p, text), s.AddMail(ctx, text, visibility)) {
		a := &address{text: text, public: visibility == 1}
		p.mails = append(p.mails, a)
		c.mailed(p, a)
	}
}

// replaceMail puts an address in the place of the primary one by a signature.
func (c *town) replaceMail(ctx context.Context, p *person, s *seat) {
	text := c.drawMail(p)
	at, want := p.mail(text), s.want(p)
	switch {
	case want != 0 || at == 0: // at 0: there is nothing to do
	case at > 0 && (p.mails[at].verified || !c.mayAsk(p)):
		want = map[bool]int{true: codeInput, false: codeTooOften}[c.mayAsk(p)]
	case at < 0 && len(p.mails) == accounts.MailsMax: // there is room: the old one goes
		if _, taken := c.owners[text]; taken {
			want = codeMailTaken
		} else if !c.mayAsk(p) {
			want = codeTooOften
		}
	case at < 0:
		want = c.wantMail(p, text)
	}
	if !c.expect(p, "sign a mail address", want, s.ReplaceMail(ctx, text)) || at == 0 {
		return
	}
	a := &address{text: text}
	if at > 0 {
		a = p.mails[at]
		p.mails = slices.Delete(p.mails, at, at+1)
	}
	if len(p.mails) > 0 {
		c.releaseMail(p, 0)
	}
	p.mails = slices.Insert(p.mails, 0, a)
	c.mailed(p, a)
}

func (c *town) releaseMail(p *person, at int) {
	if p.mails[at].verified {
		delete(c.owners, p.mails[at].text)
	}
	p.mails[at].letter = 0
	p.mails = slices.Delete(p.mails, at, at+1)
}

// askMail asks for another mail that verifies an address.
func (c *town) askMail(ctx context.Context, p *person, s *seat) {
	text := c.drawMail(p)
	at, want := p.mail(text), 0
	switch {
	case !c.mayAsk(p):
		want = codeTooOften
	case at < 0:
		want = codeMailUnknown
	case p.mails[at].verified:
		want = codeInput
	}
	_, err := s.Server().PostJSON(ctx, "email/send-verify", map[string]any{"email": text}, s.NIST(s.Device))
	if c.expect(p, "ask for a verification mail", want, err) {
		c.mailed(p, p.mails[at])
	}
}

// verifyMail presses the button behind the link of a mail, sometimes of one that is not
// good any more.
func (c *town) verifyMail(ctx context.Context, p *person, _ *seat) {
	if len(p.mails) == 0 {
		return
	}
	a := p.mails[c.rng.IntN(len(p.mails))]
	l, want := letter{a.text, a.letter}, http.StatusOK
	_, taken := c.owners[a.text]
	switch {
	case c.rng.IntN(6) == 0 && c.letters[a.text] > 1: // one from before, perhaps to somebody else
		if l.n, want = c.letters[a.text]-1, http.StatusNotFound; c.isGood(l) {
			return
		}
	case l.n == 0:
		return
	case taken:
		want = http.StatusConflict
	}
	path, err := c.bag.link(ctx, l.to, l.n)
	if err != nil {
		c.t.Errorf("step %d, %s: %v", c.steps, p.name, err)
		return
	}
	code, err := c.r.press(ctx, path)
	if c.count(p, "verify a mail address", code == http.StatusOK, fmt.Sprint(code, err), fmt.Sprint(want, nil)) {
		a.verified, a.letter = true, 0
		c.owners[a.text] = p.uid
	}
}

// changeMail deletes an address, makes it the primary one, or says who may find it.
func (c *town) changeMail(ctx context.Context, p *person, s *seat) {
	text := c.drawMail(p)
	at, want := p.mail(text), 0
	if at < 0 {
		want = codeMailUnknown
	}
	args, endpoint, deed := map[string]any{"email": text}, "", ""
	kind, visibility := c.rng.IntN(4), c.rng.IntN(2)
	switch kind {
	case 0, 1:
		endpoint, deed = "email/delete", "delete a mail address"
		if at == 0 && len(p.mails) > 1 {
			want = codeMailPrimary
		}
	case 2:
		endpoint, deed = "email/set-primary", "make a mail address the primary one"
	case 3:
		endpoint, deed = "email/set-visibility", "show a mail address"
		args["visibility"] = visibility
	}
	_, err := s.Server().PostJSON(ctx, endpoint, args, s.NIST(s.Device))
	if !c.expect(p, deed, want, err) {
		return
	}
	switch a := p.mails[at]; kind {
	case 0, 1:
		c.releaseMail(p, at)
	case 2:
		p.mails = slices.Insert(slices.Delete(p.mails, at, at+1), 0, a)
	case 3:
		a.public = visibility == 1
	}
}

// lookMails compares somebody's addresses, as one of their devices is told, with the
// model.
func (c *town) lookMails(ctx context.Context, p *person, s *seat) error {
	reply, err := s.Server().Get(ctx, "user/private", nil, s.NIST(s.Device))
	if err != nil {
		return err
	}
	var them struct {
		Emails struct {
			Emails []struct {
				Email      string `json:"email"`
				Primary    int    `json:"is_primary"`
				Verified   int    `json:"is_verified"`
				Visibility int    `json:"visibility"`
			} `json:"emails"`
		} `json:"emails"`
	}
	if err := json.Unmarshal(reply.Field("them"), &them); err != nil {
		return err
	}
	var got, want []string
	row := func(text string, primary, verified, public bool) string {
		return fmt.Sprint(text, " primary ", primary, " verified ", verified, " public ", public)
	}
	for _, m := range them.Emails.Emails {
		got = append(got, row(m.Email, m.Primary == 1, m.Verified == 1, m.Visibility == 1))
	}
	for i, a := range p.mails {
		want = append(want, row(a.text, i == 0, a.verified, a.public))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("mail addresses %q, want %q", got, want)
	}
	return nil
}

// password is what somebody logs in with.
func (p *person) password() *client.Stream { return p.secret }

// remind tells a device the password as it is now, as its owner would.
func (p *person) remind(s *seat) { s.Stream, s.Generation = p.secret, p.generation }

// anotherPassword is one that nobody had.
func (c *town) anotherPassword(p *person) *client.Stream {
	return client.CheapStream(fmt.Appendf(nil, "%s at %d", p.name, c.steps))
}

// changePassword changes the password by the old one, or by one that was changed since
// on another device.
func (c *town) changePassword(ctx context.Context, p *person, s *seat) {
	next, want := c.anotherPassword(p), 0
	if s.Generation != p.generation {
		want = codePassword
	}
	if c.expect(p, "change the password", want, s.ChangePassword(ctx, next)) {
		p.secret, p.generation = next, p.generation+1
	}
	c.afterPassword(ctx, p, s)
}

// recoverPassword changes it on the word of a device, which need not know it.
func (c *town) recoverPassword(ctx context.Context, p *person, s *seat) {
	next := c.anotherPassword(p)
	if c.expect(p, "recover the password", 0, s.RecoverPassword(ctx, s.Device, next)) {
		p.secret, p.generation = next, p.generation+1
	}
	c.afterPassword(ctx, p, s)
}

// afterPassword brings a device up to date that has looked at the chain on the way.
func (c *town) afterPassword(ctx context.Context, p *person, s *seat) {
	p.remind(s)
	if err := s.FetchPUKs(ctx, s.Device); err != nil {
		c.t.Errorf("step %d, reload %s: %v", c.steps, p.name, err)
	}
	s.known = p.links
}

// logInAgain logs in with the password, and with the one from before.
func (c *town) logInAgain(ctx context.Context, p *person, s *seat) {
	secret, want := p.secret, 0
	if s.Generation != p.generation {
		secret, want = s.Stream, codePassword
	}
	a, err := client.Login(ctx, c.eyes, p.name, "", secret)
	if c.expect(p, "log in", want, err) && a.Generation != p.generation {
		c.t.Errorf("step %d, %s: password generation %d, want %d", c.steps, p.name, a.Generation, p.generation)
	}
}
