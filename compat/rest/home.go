package rest

import (
	"strings"
	"time"

	"github.com/keystead/keystead/compat/status"
)

// homePollInterval is when a client looks at its home page again by itself. It must
// be positive: a client sleeps this long between calls. client: go/home/home.go:Home.RunUpdateLoop
const homePollInterval = time.Hour

// homePage: GET home. Nothing is suggested to anybody yet.
func homePage(c *call) (any, error) {
	type page struct {
		LastViewed           int64 `json:"lastViewed"`
		Version              int   `json:"version"`
		Visits               int   `json:"visits"`
		Items                []any `json:"items"`
		FollowSuggestions    []any `json:"followSuggestions"`
		AnnouncementsVersion int   `json:"announcementsVersion"`
	}
	return struct {
		Home page `json:"home"`
	}{page{Items: []any{}, FollowSuggestions: []any{}}}, nil
}

// homePoll: GET home/poll.
func homePoll(*call) (any, error) {
	return struct {
		NextPollSecs int64 `json:"next_poll_secs"`
	}{int64(homePollInterval / time.Second)}, nil
}

// homeVisit: POST home/visit. There is no badge that a visit would clear.
func homeVisit(*call) (any, error) { return none{}, nil }

// featureCacheTime is how long a client may keep a feature's value.
const featureCacheTime = time.Hour

// featuresMax bounds the features of one question.
const featuresMax = 100

// userFeatures: GET user/features. No feature flag is on; nobody is an admin of a
// hosted service. client: go/service/config.go:ConfigHandler.GetUpdateInfo
func userFeatures(c *call) (any, error) {
	type feature struct {
		Value    bool  `json:"value"`
		CacheSec int64 `json:"cache_sec"`
	}
	off := feature{CacheSec: int64(featureCacheTime / time.Second)}
	out := map[string]feature{"admin": off}
	if asked := c.raw("features"); asked != "" {
		names := strings.Split(asked, ",")
		if len(names) > featuresMax {
			return nil, status.InputField("features", "too many features asked for")
		}
		for _, n := range names {
			if n != "" && len(n) <= 64 {
				out[n] = off
			}
		}
	}
	return struct {
		Features map[string]feature `json:"features"`
	}{out}, nil
}

// packageCheck: GET pkg/check. The server ships no clients, so a client is never
// told to update. client: go/service/config.go:ConfigHandler.GetUpdateInfo2
func packageCheck(*call) (any, error) {
	return struct {
		Res struct {
			Status int `json:"status"` // 0: up to date
		} `json:"res"`
	}{}, nil
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
