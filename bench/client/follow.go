package client

import (
	"context"
	"net/url"
	"strings"
)

// Follow states what was seen of a user, as a v2 link.
// client: go/engine/track_token.go:storeRemoteTrack
func (a *Account) Follow(ctx context.Context, uid UID) error { return a.follow(ctx, uid, "track") }

// Unfollow ends a follow. client: go/engine/untrack.go
func (a *Account) Unfollow(ctx context.Context, uid UID) error { return a.follow(ctx, uid, "untrack") }

func (a *Account) follow(ctx context.Context, uid UID, typ string) error {
	them, err := a.Verifier.LoadUser(ctx, uid, LoadOptions{Stubbed: true})
	if err != nil {
		return err
	}
	return a.FollowSeen(ctx, them, typ)
}

// FollowSeen states a follow (track) or its end (untrack) of a user as loaded before, in
// one request.
func (a *Account) FollowSeen(ctx context.Context, them *User, typ string) error {
	e, err := entropy(a.Server().Random)
	if err != nil {
		return err
	}
	body := TrackBody(them, e)
	if typ == "untrack" {
		body = UntrackBody(them, e)
	}
	spec := &LinkSpec{Type: typ, Version: 2, Signer: a.Device.Sig, Body: body}
	_, _, err = a.postLink(ctx, "follow", spec, url.Values{"uid": {them.UID.String()}})
	return err
}

// Prove claims a name at a social service and returns the text to publish there.
// client: go/engine/prove.go, go/libkb/post.go:PostProof
func (a *Account) Prove(ctx context.Context, service, username string) (proofText string, sigID string, err error) {
	e, err := entropy(a.Server().Random)
	if err != nil {
		return "", "", err
	}
	spec := &LinkSpec{
		Type: "web_service_binding", Version: 2, Signer: a.Device.Sig,
		Body: map[string]any{"service": map[string]any{"entropy": e, "name": service, "username": username}},
	}
	typ := "web_service_binding." + service
	if strings.Contains(service, ".") {
		typ = "web_service_binding.generic_social" // client: go/libkb/constants.go:GenericSocialWebServiceBinding
	}
	l, reply, err := a.postLink(ctx, "sig/post", spec, url.Values{
		"type": {typ}, "is_remote_proof": {"1"}, "supersede": {"0"}, "remote_username": {username},
	})
	if err != nil {
		return "", "", err
	}
	if _, err := reply.text("proof_id"); err != nil {
		return "", "", err
	}
	text, err := reply.text("proof_text")
	return text, l.SigID.SigID(), err
}
