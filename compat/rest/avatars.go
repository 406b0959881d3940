package rest

import (
	"strings"

	"github.com/keystead/keystead/compat/status"
)

// picturesMax bounds the pictures of one question.
const picturesMax = 500

// userPictures: GET image/username_pic_lookups, and the same for teams. The answer
// has as many rows as names were asked, in their order; an empty row is "no picture".
// client: go/avatars/simple.go:SimpleSource.apiReq
func userPictures(c *call) (any, error) {
	names := c.raw("usernames")
	if names == "" {
		names = c.raw("team_names")
	}
	out := []map[string]string{}
	if names != "" {
		n := strings.Count(names, ",") + 1
		if n > picturesMax {
			return nil, status.InputField("usernames", "too many names")
		}
		for range n {
			out = append(out, map[string]string{})
		}
	}
	return struct {
		Pictures []map[string]string `json:"pictures"`
	}{out}, nil
}
