package gregor

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/wire/gregor1"
)

// A device that was away learns from items which teams have changed, and takes the others
// from its cache. When such items would make room because their user has too many, one
// item takes the place of all: devices then ask about every team until it ends.
//
// client: go/service/team_handler.go:teamHandler.gotForceRepoll, go/teams/loader.go:TeamLoader.ForceRepollUntil
const categoryRepoll = "team.force_repoll"

// categoriesRepolled are of no use beside categoryRepoll.
var categoriesRepolled = []string{"team.change", "team.rename"}

// cutoffs are how many items make a user's state a big one, where that is not itemsMax.
type cutoffs struct {
	mu    sync.Mutex
	items map[kbsig.UID]int
}

// SetCutoff makes the state of u a big one from so many items on, until the Service ends:
// it then hears of no single team's changes. For tests of clients.
// client: go/systests/teams_test.go:TestForceRepollState
func (s *Service) SetCutoff(u kbsig.UID, items int) {
	s.cutoffs.mu.Lock()
	defer s.cutoffs.mu.Unlock()
	if s.cutoffs.items == nil {
		s.cutoffs.items = make(map[kbsig.UID]int)
	}
	s.cutoffs.items[u] = items
}

// crowded reports whether an update whose outcome is o would leave u's devices without
// news of teams.
func (s *Service) crowded(u kbsig.UID, up gregor1.StateUpdateMessage, o outcome) bool {
	if o.repeated || up.Creation == nil || up.Creation.Category == categoryRepoll {
		return false
	}
	if o.hintsEvicted {
		return true
	}
	s.cutoffs.mu.Lock()
	defer s.cutoffs.mu.Unlock()
	n, set := s.cutoffs.items[u]
	return set && o.change.was.Live >= n && slices.Contains(categoriesRepolled, up.Creation.Category)
}

// repoll keeps the item that takes the place of all news of single teams, and tells it.
// The caller has the user's turn.
func (s *Service) repoll(ctx context.Context, r *room, u kbsig.UID) error {
	up := gregor1.StateUpdateMessage{
		Creation: &gregor1.Item{
			Category: categoryRepoll, Body: []byte("{}"),
			DTime: gregor1.TimeOrOffset{Offset: gregor1.DurationMsec(hintLasts.Milliseconds())},
		},
		Dismissal: &gregor1.Dismissal{},
	}
	if err := s.fillID(&up.Metadata); err != nil {
		return err
	}
	for _, c := range append([]string{categoryRepoll}, categoriesRepolled...) {
		up.Dismissal.Ranges = append(up.Dismissal.Ranges, gregor1.MsgRange{Category: c, SkipMsgIDs: [][]byte{up.Metadata.MsgID}})
	}
	o, err := s.keep(ctx, r, u, up, kbsig.DeviceID{})
	s.metrics.count(o, err)
	if err != nil {
		return fmt.Errorf("replace news of teams by one: %w", err)
	}
	s.tell(r, o)
	return nil
}

// hints says whether some of the items, which have just ended, told of teams.
func (e *edit) hints(ids [][]byte) (bool, error) {
	for _, id := range ids {
		r, err := e.now(id)
		if err != nil {
			return false, err
		}
		if r != nil && slices.Contains(categoriesRepolled, r.Category) {
			return true, nil
		}
	}
	return false, nil
}
