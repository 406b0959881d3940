package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/compat/status"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/events"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/engine/pictures"
	"github.com/keystead/keystead/engine/store"
	"github.com/keystead/keystead/merklehot/home"
	"github.com/keystead/keystead/merklehot/showcase"
	"github.com/keystead/keystead/merklehot/teams"
)

const (
	// picturesMax bounds the people whose pictures one question asks for.
	picturesMax = 500
	// formatsMax bounds the sizes of one question.
	formatsMax = 20
	// uploadBodyMax bounds the body with an image: the image, and what is around it.
	uploadBodyMax = pictures.UploadBytesMax + 64<<10
	// decodingBytesMax bounds the memory for images that are being decoded at a time.
	decodingBytesMax = 384 << 20
	// fieldBytesMax bounds a field beside a file.
	fieldBytesMax = 64 << 10
	// partsMax bounds the parts of a body.
	partsMax = 40
)

// picturesPrefix stands before the address of every picture.
const picturesPrefix = "/_/pictures/"

// part is one part of a multipart body.
type part struct {
	name, file string
	data       []byte
}

// parts reads a multipart body. Data shares memory with the body where it can.
func (c *call) parts() ([]part, error) {
	bad := status.Input("the body is not the multipart form that %s wants", c.route.name)
	kind, params, err := mime.ParseMediaType(string(c.http.Request.Header.ContentType()))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, bad
	}
	in := multipart.NewReader(bytes.NewReader(c.content), params["boundary"])
	var out []part
	for {
		p, err := in.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, bad
		}
		if len(out) == partsMax {
			return nil, status.Input("more than %d parts", partsMax)
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return nil, bad
		}
		if p.FileName() == "" && len(data) > fieldBytesMax {
			return nil, status.InputField(p.FormName(), "the field is too long")
		}
		out = append(out, part{p.FormName(), p.FileName(), data})
	}
}

// pictureParts are the image of an upload, and the fields beside it.
func (c *call) pictureParts() (file []byte, fields map[string]string, err error) {
	parts, err := c.parts()
	if err != nil {
		return nil, nil, err
	}
	fields = map[string]string{}
	for _, p := range parts {
		if p.name == "avatar" && file == nil {
			file = p.data
		} else {
			fields[p.name] = string(p.data)
		}
	}
	if len(file) == 0 {
		return nil, nil, status.InputField("avatar", "there is no image in the request")
	}
	if len(file) > pictures.UploadBytesMax {
		return nil, nil, status.InputField("avatar", "the image is larger than "+strconv.Itoa(pictures.UploadBytesMax>>20)+" MB")
	}
	return file, fields, nil
}

// pictureUpload: POST image/upload_user_avatar.
// client: go/avatars/upload.go:UploadImage
func pictureUpload(c *call) (any, error) {
	file, fields, err := c.pictureParts()
	if err != nil {
		return nil, err
	}
	if _, ok := fields["team_id"]; ok {
		return nil, status.InputField("team_id", "this is where the pictures of people go, not those of teams")
	}
	crop, err := cropOf(fields)
	if err != nil {
		return nil, err
	}
	sizes, err := c.makePictures(file, crop)
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		if _, err := people.SetPicture(tx, c.who.UID, sizes); err != nil {
			return err
		}
		if err := home.Refresh(tx, c.who.UID); err != nil {
			return err
		}
		return tellPicture(tx, c.who.UID, string(c.who.Name), avatarOfUser)
	})
}

// cropOf reads the part that is to be shown; nil if none is named.
func cropOf(fields map[string]string) (*pictures.Crop, error) {
	var crop pictures.Crop
	sent := 0
	for _, f := range []struct {
		name string
		to   *int
	}{{"x0", &crop.X0}, {"y0", &crop.Y0}, {"x1", &crop.X1}, {"y1", &crop.Y1}} {
		v := fields[f.name]
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, status.InputField(f.name, "the argument "+f.name+" is not a number")
		}
		*f.to = n
		sent++
	}
	switch {
	case sent == 0, sent == 4 && crop == pictures.Crop{}:
		return nil, nil
	case sent < 4:
		return nil, status.InputField("x0", "of x0, y0, x1 and y1 some are missing")
	}
	return &crop, nil
}

// makePictures decodes an image, if there is memory for it.
func (c *call) makePictures(file []byte, crop *pictures.Crop) ([]pictures.Picture, error) {
	cost, err := pictures.Cost(file)
	if err == nil {
		if !c.s.decoding.Take(int(cost)) {
			return nil, status.New(status.RateLimit, "RATE_LIMIT", "the server is busy with other images; please try again in a minute")
		}
		defer c.s.decoding.Give(int(cost))
		var sizes []pictures.Picture
		if sizes, err = pictures.Make(file, crop); err == nil {
			return sizes, nil
		}
	}
	for _, known := range []error{pictures.ErrFormat, pictures.ErrTooBig, pictures.ErrCrop, pictures.ErrBroken, pictures.ErrAnimated} {
		if errors.Is(err, known) {
			return nil, status.InputField("avatar", err.Error())
		}
	}
	return nil, err
}

// Whose picture has changed. client: go/protocol/keybase1/notify_team.go:AvatarUpdateType
const (
	avatarOfUser = 1
	avatarOfTeam = 2
)

// tellPicture has a person's devices forget a picture that they know.
// client: go/service/avatars.go:avatarGregorHandler.clearName
func tellPicture(tx *store.Tx, u kbsig.UID, name string, of int) error {
	type message struct {
		Name    string   `json:"name"`
		Formats []string `json:"formats"`
		Typ     int      `json:"typ"`
	}
	m := message{Name: name, Typ: of}
	for _, s := range pictures.Sizes {
		m.Formats = append(m.Formats, formatOf(s))
	}
	body, err := json.Marshal([]message{m})
	if err != nil {
		return err
	}
	return events.Add(tx, events.News{To: u, Category: "avatar.clear_cache_for_name", Body: body, Replace: true})
}

func formatOf(size uint16) string { return "square_" + strconv.Itoa(int(size)) }

// sizeFor is the size of a picture that serves a format best: the least that is not
// smaller. False for what is no format.
func sizeFor(format string) (uint16, bool) {
	digits, ok := strings.CutPrefix(format, "square_")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n == 0 {
		return 0, false
	}
	best := pictures.Sizes[0]
	for _, s := range pictures.Sizes {
		if uint64(s) >= n {
			best = s
		}
	}
	return best, true
}

// pictureURL is the address of a picture; empty if nobody knows how the server is
// called.
func (c *call) pictureURL(u kbsig.UID, id people.PictureID, size uint16) string {
	base := c.s.PublicURL
	if base == "" {
		// As the one who asks called it: that reached us.
		host := string(c.http.Host())
		if host == "" || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != "" {
			return ""
		}
		base = "http://" + host
		if c.http.IsTLS() {
			base = "https://" + host
		}
	}
	return base + picturesPrefix + u.String() + "/" + id.String() + "/" + strconv.Itoa(int(size)) + ".jpg"
}

// pictureURLs are the addresses of somebody's picture by format; none without one.
func (c *call) pictureURLs(acct *accounts.Account, formats []string) map[string]string {
	out := map[string]string{}
	id := people.PictureID(acct.Picture)
	if id.IsZero() || acct.Status == accounts.StatusDeleted {
		return out
	}
	for _, f := range formats {
		if size, ok := sizeFor(f); ok {
			if at := c.pictureURL(acct.UID, id, size); at != "" {
				out[f] = at
			}
		}
	}
	return out
}

// userPictures: GET image/username_pic_lookups. The answer has as many rows as names
// were asked, in their order; an empty row is "no picture".
// client: go/avatars/simple.go:SimpleSource.apiReq
func userPictures(c *call) (any, error) {
	formats := strings.Split(c.raw("formats"), ",")
	if len(formats) > formatsMax {
		return nil, status.InputField("formats", "too many formats")
	}
	return c.pictureRows("usernames", func(name string) (map[string]string, error) {
		n, err := kbsig.ParseUsername(name)
		if err != nil {
			return map[string]string{}, nil
		}
		acct, err := accounts.ByName(c.view(), n)
		if errors.Is(err, accounts.ErrNoUser) {
			return map[string]string{}, nil
		}
		if err != nil {
			return nil, err
		}
		return c.pictureURLs(acct, formats), nil
	})
}

// teamPictures: GET image/team_avatar_lookups: pictures of teams, for everybody who knows
// their names; those of subteams only for those in them.
// client: go/avatars/simple.go:SimpleSource.LoadTeams
func teamPictures(c *call) (any, error) {
	formats := strings.Split(c.raw("formats"), ",")
	if len(formats) > formatsMax {
		return nil, status.InputField("formats", "too many formats")
	}
	return c.pictureRows("team_names", func(name string) (map[string]string, error) { return c.teamPicture(name, formats) })
}

func (c *call) teamPicture(text string, formats []string) (map[string]string, error) {
	out := map[string]string{}
	name, err := kbsig.ParseTeamName(text)
	if err != nil {
		return out, nil
	}
	id, err := teams.ByName(c.view(), name)
	if errors.Is(err, teams.ErrNoTeam) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := teams.AccessOf(c.view(), id, c.asker(), kbsig.TeamID{})
	if err != nil || !a.Chain() && name.Depth() > 0 {
		return out, err
	}
	s, err := showcase.Of(c.view(), id)
	if err != nil {
		return out, err
	}
	return c.shownPicture(id, s, formats), nil
}

// shownPicture is where the picture that a team shows can be fetched, in each format.
func (c *call) shownPicture(id kbsig.TeamID, s showcase.Shown, formats []string) map[string]string {
	out := map[string]string{}
	if s.Picture.IsZero() {
		return out
	}
	for _, f := range formats {
		if size, ok := sizeFor(f); ok {
			if at := c.pictureURL(kbsig.UID(id), s.Picture, size); at != "" {
				out[f] = at
			}
		}
	}
	return out
}

// teamPictureUpload: POST image/upload_team_avatar. client: go/avatars/upload.go:UploadImage
func teamPictureUpload(c *call) (any, error) {
	file, fields, err := c.pictureParts()
	if err != nil {
		return nil, err
	}
	id, err := kbsig.ParseTeamID(fields["team_id"])
	if err != nil {
		return nil, status.InputField("team_id", "this is no team")
	}
	crop, err := cropOf(fields)
	if err != nil {
		return nil, err
	}
	if a, err := teams.AccessOf(c.view(), id, c.who.UID, kbsig.TeamID{}); err != nil || !a.Managed() {
		return nil, cmp.Or(teamError(err), error(errTeamAdmins))
	}
	sizes, err := c.makePictures(file, crop)
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error {
		if err := managedIn(tx, id, c.who.UID); err != nil {
			return err
		}
		if err := showcase.SetPicture(tx, id, sizes); err != nil {
			return err
		}
		name, err := teams.FullName(tx, id)
		if err != nil {
			return err
		}
		if err := tellPicture(tx, c.who.UID, name.String(), avatarOfTeam); err != nil {
			return err
		}
		return teams.Changed(tx, id, teams.Change{Misc: true})
	})
}

func (c *call) pictureRows(argument string, row func(name string) (map[string]string, error)) (any, error) {
	out := []map[string]string{}
	if c.has(argument) {
		names := strings.Split(c.raw(argument), ",")
		if len(names) > picturesMax {
			return nil, status.InputField(argument, "too many names")
		}
		for _, n := range names {
			r, err := row(n)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return struct {
		Pictures []map[string]string `json:"pictures"`
	}{out}, nil
}

// picturePreference: POST image/set_preference: which picture a user would rather show
// than the one here. It is kept, and told to the user's own clients; others are shown
// the picture here, or none, since this server takes no pictures from other services.
// client: go/engine/user_config.go:UserConfigEngine.Run
func picturePreference(c *call) (any, error) {
	source, err := parsed(c, "identity_src", people.ParsePictureSource)
	if err != nil {
		return nil, err
	}
	return none{}, c.update(func(tx *store.Tx) error { return people.PreferPicture(tx, c.who.UID, source) })
}

// servePicture answers the address of a picture. What is under an address never changes.
func (s *Server) servePicture(ctx *fasthttp.RequestCtx, path string) {
	if err := s.admit(s.addressOf(ctx), rateRead); err != nil {
		ctx.Error("too many requests\n", fasthttp.StatusTooManyRequests)
		return
	}
	u, id, size, ok := parsePicturePath(path)
	if !ok || !(ctx.IsGet() || ctx.IsHead()) {
		ctx.Error("no such picture\n", fasthttp.StatusNotFound)
		return
	}
	v := s.Store.View()
	defer v.Close()
	b, err := people.Picture(v, u, id, size)
	switch {
	case errors.Is(err, store.ErrNotFound):
		ctx.Error("no such picture\n", fasthttp.StatusNotFound)
		return
	case err != nil:
		s.Logger.Error("picture", "err", err)
		ctx.Error("the picture cannot be read\n", fasthttp.StatusInternalServerError)
		return
	}
	h := &ctx.Response.Header
	tag := `"` + id.String() + "-" + strconv.Itoa(int(size)) + `"`
	h.Set(fasthttp.HeaderETag, tag)
	h.Set(fasthttp.HeaderCacheControl, "public, max-age=31536000, immutable")
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderContentSecurityPolicy, "default-src 'none'")
	if string(ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch)) == tag {
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	if !gated(ctx.Conn()).owe(len(b)) {
		ctx.Error("the server has too much to do at the moment\n", fasthttp.StatusServiceUnavailable)
		return
	}
	ctx.SetContentType(pictures.ContentType)
	ctx.SetBody(b)
}

// parsePicturePath reads owner, picture and size out of the part of an address behind
// the prefix.
func parsePicturePath(path string) (u kbsig.UID, id people.PictureID, size uint16, ok bool) {
	p := strings.Split(path, "/")
	if len(p) != 3 {
		return u, id, 0, false
	}
	digits, jpg := strings.CutSuffix(p[2], ".jpg")
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || !jpg || !slices.Contains(pictures.Sizes, uint16(n)) || strconv.Itoa(int(n)) != digits {
		return u, id, 0, false
	}
	if u, err = kbsig.ParseUID(p[0]); err != nil {
		team, err := kbsig.ParseTeamID(p[0])
		if err != nil {
			return u, id, 0, false
		}
		u = kbsig.UID(team)
	}
	id, err = people.ParsePictureID(p[1])
	return u, id, uint16(n), err == nil
}
