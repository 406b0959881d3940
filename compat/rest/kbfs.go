package rest

import "time"

// Files are not served yet. What a client asks on its own is answered with the
// truth: there are no folders.

// upgradeDelay is how far ahead a client is told to look again for folders to
// upgrade. The answer is a point in time, and one in the past would make the client
// ask without pause. client: go/tlfupgrade/tlfupgrade.go:BackgroundTLFUpdater.getTLFToUpgrade
const upgradeDelay = 7 * 24 * time.Hour

// kbfsUpgrade: GET kbfs/upgrade. No folder of the old kind can exist here.
func kbfsUpgrade(c *call) (any, error) {
	type disabled struct {
		Delay int64 `json:"delay"` // ms since the epoch
	}
	return struct {
		Typ      int      `json:"typ"` // 3: disabled
		Disabled disabled `json:"disabled"`
	}{3, disabled{c.s.Clock().Add(upgradeDelay).UnixMilli()}}, nil
}

// kbfsUnkeyed: GET kbfs/unkeyed_tlfs_from_pair, shown as a warning before a device
// is removed. An error here would keep people from removing a device.
func kbfsUnkeyed(*call) (any, error) {
	return struct {
		TLFs []any `json:"tlfs"`
	}{[]any{}}, nil
}

// kbfsProblemSets: POST kbfs/problem_sets.
// client: go/service/rekey_master.go:queryAPIServerForRekeyInfo
func kbfsProblemSets(c *call) (any, error) {
	type user struct {
		UID      string `json:"uid"`
		Username string `json:"username"`
	}
	type set struct {
		User user   `json:"user"`
		KID  string `json:"kid"`
		TLFs []any  `json:"tlfs"`
	}
	kid := ""
	if !c.who.KID.IsZero() {
		kid = c.who.KID.String()
	}
	return struct {
		ProblemSet set `json:"problem_set"`
	}{set{User: user{c.who.UID.String(), string(c.who.Name)}, KID: kid, TLFs: []any{}}}, nil
}

// favoriteList: GET kbfs/favorite/list.
// client: go/engine/favorite_list.go:FavoritesAPIResult
func favoriteList(*call) (any, error) {
	return struct {
		Favorites []any `json:"favorites"`
		Ignored   []any `json:"ignored"`
		New       []any `json:"new"`
	}{[]any{}, []any{}, []any{}}, nil
}

// gitRepos: GET kbfs/git/team/get.
func gitRepos(*call) (any, error) {
	return struct {
		Repos []any `json:"repos"`
	}{[]any{}}, nil
}
