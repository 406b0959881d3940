package gregor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/observe"
)

// Consumer is this package's name in the outbox of news.
const Consumer = "gregor"

// deliveredAtOnceMax is to how many users news is delivered at the same time.
const deliveredAtOnceMax = 64

// hintLasts is how long an item lasts that only makes clients look again: one that
// was away for longer looks anyway.
const hintLasts = 7 * 24 * time.Hour

// lasts says how long items of a category last that no client dismisses, unless the
// news says otherwise. Without an end they would pile up in the state that every
// client is sent. Categories that are not here last until they are dismissed.
//
// client: go/service/user_handler.go:userHandler.Create, go/service/kbfs_favorites_handler.go, go/service/emails.go, go/service/phone_numbers.go
var lasts = map[string]time.Duration{
	"user.key_change":          hintLasts,
	"user.identity_change":     hintLasts,
	"user.password_change":     hintLasts,
	"user.blocked":             hintLasts,
	"kbfs.favorites":           hintLasts,
	"email.added":              hintLasts,
	"email.edited":             hintLasts,
	"email.verified":           hintLasts,
	"email.primary_changed":    hintLasts,
	"email.deleted":            hintLasts,
	"email.visibility_changed": hintLasts,
	"phone.added":              hintLasts,
	"phone.verified":           hintLasts,
	"phone.superseded":         hintLasts,
	"phone.deleted":            hintLasts,
	"phone.visibility_changed": hintLasts,
	"home.update":              hintLasts,
	"team.change":              hintLasts,
	"team.rename":              hintLasts,
	"team.abandoned":           hintLasts,
	"team.force_repoll":        hintLasts,
}

// DeliverNews hands entries of the outbox to the users they are for: each user's in
// order, different users' side by side. It may be given entries again: their ids count
// once. An entry that can never be delivered is logged and skipped.
func (s *Service) DeliverNews(ctx context.Context, entries []events.Entry) error {
	byUser := make(map[kbsig.UID][]events.Entry)
	for _, e := range entries {
		byUser[e.To] = append(byUser[e.To], e)
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		slots = make(chan struct{}, deliveredAtOnceMax)
	)
	for _, own := range byUser {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := s.deliverTo(ctx, own); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Service) deliverTo(ctx context.Context, own []events.Entry) error {
	for _, e := range own {
		err := s.deliver(ctx, e)
		if errors.Is(err, ErrRefused) {
			s.opts.Logger.Error("gregor: news cannot be delivered and is skipped", observe.FieldUID, e.To.String(),
				"entry", e.Number, "category", e.Category, "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) deliver(ctx context.Context, e events.Entry) error {
	if e.OutOfBand {
		return s.push(ctx, e.To, e.Skip, e.Category, e.Body)
	}
	if e.Body == nil {
		var categories []string
		if e.Replace {
			categories = append(categories, e.Category)
		}
		return s.dismiss(ctx, e.To, e.ID[:], ended(e), categories...)
	}
	d := e.Lasts
	if d == 0 {
		d = lasts[e.Category]
	}
	_, err := s.Inject(ctx, Injection{
		UID: e.To, Category: e.Category, Body: e.Body, MsgID: e.ID[:], Skip: e.Skip, Replace: e.Replace, Ends: ended(e),
		DTime: gregor1.TimeOrOffset{Offset: gregor1.DurationMsec(d.Milliseconds())},
	})
	return err
}

// ended are the ids of the items that news dismisses.
func ended(e events.Entry) (ids [][]byte) {
	for _, id := range e.Ends {
		ids = append(ids, id[:])
	}
	return ids
}
