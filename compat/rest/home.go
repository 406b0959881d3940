package rest

import (
	"slices"
	"strconv"
	"time"

	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/home"
)

// homePollInterval is when a client looks at its home page again by itself. It must
// be positive: a client sleeps this long between calls. client: go/home/home.go:Home.RunUpdateLoop
const homePollInterval = time.Hour

// Kinds of items, and of what people items say.
// client: go/protocol/keybase1/home.go:HomeScreenItemType
const (
	homeTodo      = home.ItemTodo
	homePeople    = 2
	homeAnnounced = home.ItemAnnouncement
	homeFollowed  = 1
	homeFollowers = 2
	homeContact   = 3
)

// homeUser is somebody on a home page. client: go/protocol/keybase1/user.go:UserSummary
type homeUser struct {
	UID      string `json:"uid"`
	Username string `json:"username"`
	FullName string `json:"fullName"`
}

// homeFollower is a new follower.
// client: go/protocol/keybase1/home.go:HomeScreenPeopleNotificationFollowed
type homeFollower struct {
	FollowTime   int64    `json:"followTime"` // milliseconds
	FollowedBack bool     `json:"followedBack"`
	User         homeUser `json:"user"`
}

// homeAnnouncement is something that the operator announces. Its version is that of the
// shape; the app link, to a part of the client, is none.
// client: go/protocol/keybase1/home.go:HomeScreenAnnouncement
type homeAnnouncement struct {
	ID           int64  `json:"id"`
	Version      int    `json:"version"`
	AppLink      int    `json:"appLink"`
	ConfirmLabel string `json:"confirmLabel"`
	Dismissable  bool   `json:"dismissable"`
	IconURL      string `json:"iconUrl"`
	Text         string `json:"text"`
	URL          string `json:"url"`
}

// homeItem is one item. Which members data has follows from its t.
// client: go/protocol/keybase1/home.go:HomeScreenItem
type homeItem struct {
	Badged  bool           `json:"badged"`
	Data    map[string]any `json:"data"`
	DataExt map[string]any `json:"dataExt"`
}

// homePage: GET home. client: go/home/home.go:Home.getToCache
func homePage(c *call) (any, error) {
	wanted, err := c.integer("num_people", 0)
	if err != nil {
		return nil, err
	}
	page, kept, err := home.PageOf(c.view(), c.who.UID, c.s.Clock())
	if err != nil {
		return nil, err
	}
	if todos := page.Shown(); !slices.Equal(todos, kept.Shown) {
		if err := c.update(func(tx *store.Tx) error { return home.Seen(tx, c.who.UID, todos) }); err != nil {
			return nil, err
		}
	}
	suggested, err := home.Suggest(c.view(), c.who.UID, int(min(wanted, home.SuggestionsMax)))
	if err != nil {
		return nil, err
	}
	type reply struct {
		LastViewed           int64        `json:"lastViewed"` // milliseconds
		Version              int64        `json:"version"`
		Visits               int64        `json:"visits"`
		Items                []homeItem   `json:"items"`
		FollowSuggestions    []suggestion `json:"followSuggestions"`
		AnnouncementsVersion int64        `json:"announcementsVersion"`
	}
	out := reply{LastViewed: page.LastViewed, Version: page.Version, Visits: page.Visits, Items: homeItems(page), FollowSuggestions: []suggestion{}, AnnouncementsVersion: page.Announced}
	for _, a := range suggested {
		out.FollowSuggestions = append(out.FollowSuggestions, c.suggestion(a))
	}
	if c.flag("record_visit") { // last: the page is that before the visit, with what is new
		if err := c.update(func(tx *store.Tx) error { return home.Visit(tx, c.who.UID) }); err != nil {
			return nil, err
		}
	}
	return struct {
		Home reply `json:"home"`
	}{out}, nil
}

func homeItems(page *home.Page) []homeItem {
	items := []homeItem{}
	for _, t := range page.Todos {
		data, ext := map[string]any{"t": int(t.Todo)}, map[string]any{"t": int(t.Todo)}
		if t.Todo == home.TodoVerifyEmail {
			data["verifyAllEmail"] = t.Email
			ext["verifyAllEmail"] = map[string]any{"lastVerifyEmailDate": 0}
		}
		items = append(items, homeItem{t.Badged, map[string]any{"t": homeTodo, "todo": data}, map[string]any{"t": homeTodo, "todo": ext}})
	}
	for _, a := range page.Announcements {
		items = append(items, homeItem{a.Badged, map[string]any{"t": homeAnnounced, "announcement": homeAnnouncement{
			ID: a.ID, Version: 1, ConfirmLabel: a.Label, Dismissable: true, Text: a.Text, URL: a.Link,
		}}, map[string]any{"t": homeAnnounced}})
	}
	person := func(badged bool, data map[string]any) {
		items = append(items, homeItem{badged, map[string]any{"t": homePeople, "people": data}, map[string]any{"t": homePeople}})
	}
	for _, group := range []struct {
		home.Followers
		badged bool
	}{{page.Unseen, true}, {page.Seen, false}} {
		var rows []homeFollower
		for _, f := range group.Named {
			rows = append(rows, homeFollower{f.Time, f.FollowedBack, homeUser{f.Account.UID.String(), string(f.Account.Name), f.Account.FullName}})
		}
		switch len(rows) {
		case 0:
		case 1:
			person(group.badged, map[string]any{"t": homeFollowed, "followed": rows[0]})
		default:
			person(group.badged, map[string]any{"t": homeFollowers, "followedMulti": map[string]any{"followers": rows, "numOthers": group.Others}})
		}
	}
	for _, ct := range page.Contacts {
		person(ct.Badged, map[string]any{"t": homeContact, "contact": map[string]any{
			"resolveTime": ct.Time, "username": "", "description": "", "resolvedContactBlob": ct.Blob,
		}})
	}
	return items
}

// suggestion is somebody to follow. client: go/protocol/keybase1/home.go:HomeUserSummary
type suggestion struct {
	UID      string            `json:"uid"`
	Username string            `json:"username"`
	Bio      string            `json:"bio"`
	FullName string            `json:"full_name"`
	Pics     map[string]string `json:"pics,omitempty"`
}

func (c *call) suggestion(a *accounts.Account) suggestion {
	return suggestion{
		a.UID.String(), string(a.Name), a.Bio, a.FullName,
		c.pictureURLs(a, []string{"square_40", "square_200", "square_360"}),
	}
}

// homePoll: GET home/poll. What a day brings, such as another badge, is found out now.
func homePoll(c *call) (any, error) {
	if err := c.update(func(tx *store.Tx) error { return home.Refresh(tx, c.who.UID) }); err != nil {
		return nil, err
	}
	return struct {
		NextPollSecs int64 `json:"next_poll_secs"`
	}{int64(homePollInterval / time.Second)}, nil
}

// homeVisit: POST home/visit. client: go/home/home.go:Home.markViewedAPICall
func homeVisit(c *call) (any, error) {
	return none{}, c.update(func(tx *store.Tx) error { return home.Visit(tx, c.who.UID) })
}

// homeSkip: POST home/todo/skip, of a kind of things to do or of an announcement.
// client: go/home/home.go:Home.skipTodoType, go/home/home.go:Home.DismissAnnouncement
func homeSkip(c *call) (any, error) {
	what := "type"
	if c.has("announcement") {
		what = "announcement"
	}
	n, err := parsed(c, what, strconv.Atoi)
	if err != nil {
		return nil, err
	}
	if what == "announcement" {
		if n <= 0 {
			return nil, status.InputField(what, "there is no such announcement")
		}
		return none{}, c.update(func(tx *store.Tx) error { return home.Dismiss(tx, c.who.UID, n) })
	}
	if !home.Skippable(home.Todo(n)) {
		return nil, status.InputField(what, "there is no such thing to do")
	}
	return none{}, c.update(func(tx *store.Tx) error { return home.Skip(tx, c.who.UID, home.Todo(n)) })
}

// inviteCounts: GET invite_friends/num_invites.
// client: go/invitefriends/api.go:GetCounts
func inviteCounts(*call) (any, error) {
	return struct {
		NumInvites       int     `json:"numInvites"`
		PercentageChange float64 `json:"percentageChange"`
		ShowNumInvites   bool    `json:"showNumInvites"`
		ShowFire         bool    `json:"showFire"`
		TooltipMarkdown  string  `json:"tooltipMarkdown"`
	}{}, nil
}
