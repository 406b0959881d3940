package client

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/url"
	"strconv"
)

// What people show of themselves, and want of each other.

// EditProfile replaces the words of the profile. client: go/engine/profile_edit.go
func (a *Account) EditProfile(ctx context.Context, fullName, location, bio string) error {
	_, err := a.Server().Post(ctx, "profile-edit", url.Values{
		"full_name": {fullName}, "location": {location}, "bio": {bio},
	}, a.NIST(a.Device))
	return err
}

// Card is what user/card says of somebody. client: go/libkb/user_card.go:card
type Card struct {
	FollowSummary struct {
		Following int `json:"following"`
		Followers int `json:"followers"`
	} `json:"follow_summary"`
	Profile struct {
		FullName string `json:"full_name"`
		Location string `json:"location"`
		Bio      string `json:"bio"`
	} `json:"profile"`
	UserBlocks struct {
		Chat   bool `json:"chat"`
		Follow bool `json:"follow"`
	} `json:"user_blocks"`
}

// Card asks for somebody's card.
func (a *Account) Card(ctx context.Context, u UID) (c Card, err error) {
	reply, err := a.Server().Get(ctx, "user/card", url.Values{"uid": {u.String()}}, a.NIST(a.Device))
	if err != nil {
		return c, err
	}
	return c, reply.Decode(&c)
}

// UploadPicture sends an image to be the account's picture, of which crop names the
// corners x0, y0, x1, y1. client: go/avatars/upload.go:UploadImage
func (a *Account) UploadPicture(ctx context.Context, image []byte, crop ...int) error {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("avatar", "image")
	if err != nil {
		return err
	}
	if _, err := part.Write(image); err != nil {
		return err
	}
	for i, name := range []string{"x0", "y0", "x1", "y1"} {
		if i < len(crop) {
			if err := form.WriteField(name, strconv.Itoa(crop[i])); err != nil {
				return err
			}
		}
	}
	if err := form.Close(); err != nil {
		return err
	}
	_, err = a.Server().PostRaw(ctx, "image/upload_user_avatar", form.FormDataContentType(), body.Bytes(), a.NIST(a.Device))
	return err
}

// Pictures asks for the addresses of people's pictures by format, in the order of the
// names. client: go/avatars/simple.go:SimpleSource.apiReq
func (s *Server) Pictures(ctx context.Context, names, formats string) ([]map[string]string, error) {
	reply, err := s.Get(ctx, "image/username_pic_lookups", url.Values{"usernames": {names}, "formats": {formats}}, nil)
	if err != nil {
		return nil, err
	}
	var out []map[string]string
	return out, reply.into("pictures", &out)
}

// BlockRow is a block as it is posted and listed.
// client: go/engine/user_blocks_set.go, go/engine/user_blocks_get.go
type BlockRow struct {
	UID      string `json:"block_uid"`
	Username string `json:"block_username,omitempty"`
	CTime    int64  `json:"ctime,omitempty"`
	MTime    int64  `json:"mtime,omitempty"`
	Chat     *bool  `json:"chat,omitempty"`
	Follow   *bool  `json:"follow,omitempty"`
}

// SetBlocks changes whom the account blocks.
func (a *Account) SetBlocks(ctx context.Context, rows ...BlockRow) error {
	_, err := a.Server().PostJSON(ctx, "user/set_blocks", map[string]any{"blocks": rows}, a.NIST(a.Device))
	return err
}

// Blocks lists whom the account has ever blocked.
func (a *Account) Blocks(ctx context.Context) ([]BlockRow, error) {
	reply, err := a.Server().Get(ctx, "user/get_blocks", nil, a.NIST(a.Device))
	if err != nil {
		return nil, err
	}
	var out []BlockRow
	if err := reply.into("blocks", &out); err != nil {
		return nil, err
	}
	for _, b := range out {
		if u, err := ParseUID(b.UID); err != nil || UIDOf(b.Username) != u {
			return nil, violated(RuleUsername, "user/get_blocks", "%s is called %q", b.UID, b.Username)
		}
	}
	return out, nil
}

// Followers lists who is shown to follow somebody.
// client: go/libkb/sync_trackers.go:ServertrustTrackerSyncer.syncFromServer
func (s *Server) Followers(ctx context.Context, u UID) ([]string, error) {
	reply, err := s.Get(ctx, "user/list_followers_for_display", url.Values{"uid": {u.String()}, "reverse": {"0"}, "autoCamel": {"1"}}, nil)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Username string `json:"username"`
	}
	if err := reply.into("users", &rows); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.Username)
	}
	return out, nil
}

// SearchUsers finds people by name, best first.
// client: go/service/usersearch.go:KeybaseAPISearchProvider.MakeSearchRequest
func (a *Account) SearchUsers(ctx context.Context, text string, wanted int) ([]string, error) {
	reply, err := a.Server().Get(ctx, "user/user_search", url.Values{
		"q": {text}, "num_wanted": {strconv.Itoa(wanted)}, "service": {""}, "include_services_summary": {"1"},
	}, a.NIST(a.Device))
	if err != nil {
		return nil, err
	}
	var rows []struct {
		Keybase struct {
			Username string `json:"username"`
			UID      string `json:"uid"`
		} `json:"keybase"`
	}
	if err := reply.into("list", &rows); err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rows {
		if u, err := ParseUID(r.Keybase.UID); err != nil || UIDOf(r.Keybase.Username) != u {
			return nil, violated(RuleUsername, "user/user_search", "%s is called %q", r.Keybase.UID, r.Keybase.Username)
		}
		out = append(out, r.Keybase.Username)
	}
	return out, nil
}

// HomePage is what a home page shows. client: go/protocol/keybase1/home.go:HomeScreen
type HomePage struct {
	Version int64 `json:"version"`
	Visits  int64 `json:"visits"`
	// Announced is the version of the operator's announcements.
	Announced int64 `json:"announcementsVersion"`
	Items     []struct {
		Badged bool `json:"badged"`
		Data   struct {
			T    int `json:"t"`
			Todo *struct {
				T int `json:"t"`
			} `json:"todo"`
			Announcement *struct {
				ID           int64  `json:"id"`
				ConfirmLabel string `json:"confirmLabel"`
				Dismissable  bool   `json:"dismissable"`
				Text         string `json:"text"`
				URL          string `json:"url"`
			} `json:"announcement"`
			People *struct {
				T        int           `json:"t"`
				Followed *homeFollower `json:"followed"`
				Multi    *struct {
					Followers []homeFollower `json:"followers"`
					Others    int            `json:"numOthers"`
				} `json:"followedMulti"`
			} `json:"people"`
		} `json:"data"`
	} `json:"items"`
	FollowSuggestions []struct {
		Username string `json:"username"`
	} `json:"followSuggestions"`
}

type homeFollower struct {
	User struct {
		Username string `json:"username"`
	} `json:"user"`
}

// Announcements lists what the operator announces, what is new with a mark.
func (p *HomePage) Announcements() (out []string) {
	for _, i := range p.Items {
		if a := i.Data.Announcement; a != nil {
			out = append(out, a.Text+map[bool]string{true: "!"}[i.Badged])
		}
	}
	return out
}

// DismissAnnouncement puts one away. client: go/home/home.go:Home.DismissAnnouncement
func (a *Account) DismissAnnouncement(ctx context.Context, id int64) error {
	_, err := a.Server().Post(ctx, "home/todo/skip", url.Values{"announcement": {strconv.FormatInt(id, 10)}}, a.NIST(a.Device))
	return err
}

// Todos lists the things to do, badged ones with a mark.
func (p *HomePage) Todos() (out []string) {
	for _, i := range p.Items {
		if i.Data.Todo != nil {
			out = append(out, strconv.Itoa(i.Data.Todo.T)+map[bool]string{true: "!"}[i.Badged])
		}
	}
	return out
}

// NewFollowers lists those who began to follow, not yet seen ones with a mark.
func (p *HomePage) NewFollowers() (out []string) {
	for _, i := range p.Items {
		if i.Data.People == nil {
			continue
		}
		var rows []homeFollower
		if f := i.Data.People.Followed; f != nil {
			rows = append(rows, *f)
		}
		if m := i.Data.People.Multi; m != nil {
			rows = append(rows, m.Followers...)
		}
		for _, f := range rows {
			out = append(out, f.User.Username+map[bool]string{true: "!"}[i.Badged])
		}
	}
	return out
}

// Home asks for the home page; visit says that a person looks at it.
// client: go/home/home.go:Home.getToCache
func (a *Account) Home(ctx context.Context, visit bool) (*HomePage, error) {
	args := url.Values{"num_people": {"10"}, "record_visit": {"0"}}
	if visit {
		args.Set("record_visit", "1")
	}
	reply, err := a.Server().Get(ctx, "home", args, a.NIST(a.Device))
	if err != nil {
		return nil, err
	}
	p := new(HomePage)
	return p, reply.into("home", p)
}

// SkipTodo says that the person does not want to do something.
func (a *Account) SkipTodo(ctx context.Context, kind int) error {
	_, err := a.Server().Post(ctx, "home/todo/skip", url.Values{"type": {strconv.Itoa(kind)}}, a.NIST(a.Device))
	return err
}

// NewBotToken asks for a token to sign up bots with. client: go/bot/service_helper.go
func (a *Account) NewBotToken(ctx context.Context) (string, error) {
	reply, err := a.Server().Post(ctx, "bot/token/create", nil, a.NIST(a.Device))
	if err != nil {
		return "", err
	}
	return reply.text("bot_token")
}

// DeleteBotToken ends one.
func (a *Account) DeleteBotToken(ctx context.Context, token string) error {
	_, err := a.Server().Post(ctx, "bot/token/delete", url.Values{"bot_token": {token}}, a.NIST(a.Device))
	return err
}
