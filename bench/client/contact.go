package client

import (
	"context"
	"fmt"
	"net/url"
)

// AddMail gives the account a mail address; visibility is 0 for private, 1 for public.
// client: go/emails/user.go:AddEmail
func (a *Account) AddMail(ctx context.Context, address string, visibility int) error {
	_, err := a.Server().PostJSON(ctx, "email/add", map[string]any{"email": address, "visibility": visibility}, a.credential())
	return err
}

// ReplaceMail puts another address in the place of the primary one on the word of the
// account's device: a statement shaped like the next link, which is not appended.
// client: go/engine/email_change.go:EmailChange.Run
func (a *Account) ReplaceMail(ctx context.Context, address string) error {
	b, err := a.newBatch(ctx)
	if err != nil {
		return err
	}
	l, err := b.sign(&LinkSpec{Type: "update_settings", Version: 1, Signer: a.Device.Sig, Body: map[string]any{
		"update_settings": map[string]any{"email": address},
	}})
	if err != nil {
		return fmt.Errorf("sign the mail address: %w", err)
	}
	_, err = a.Server().Post(ctx, "account/email_update_signed", url.Values{
		"sig": {b64(l.Packet)}, "signing_kid": {a.Device.Sig.KID().String()},
	}, a.NIST(a.Device))
	return err
}
