package rest

import (
	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/people"
	"github.com/keystead/keystead/merklehot/directory"
)

// searchWantedUsual is how many people a search finds that does not say.
const searchWantedUsual = 20

// foundUser is somebody here. client: go/protocol/keybase1/usersearch.go:APIUserKeybaseResult
type foundUser struct {
	Username   string  `json:"username"`
	UID        string  `json:"uid"`
	PictureURL string  `json:"picture_url,omitempty"`
	FullName   string  `json:"full_name,omitempty"`
	RawScore   float64 `json:"raw_score"`
	IsFollowee bool    `json:"is_followee"`
}

// foundAt is somebody's name at another service.
// client: go/protocol/keybase1/usersearch.go:APIUserServiceResult
type foundAt struct {
	ServiceName string `json:"service_name"`
	Username    string `json:"username"`
	PictureURL  string `json:"picture_url"`
	Bio         string `json:"bio"`
	Location    string `json:"location"`
	FullName    string `json:"full_name"`
	Confirmed   bool   `json:"confirmed"`
}

// serviceName is a name at a service.
type serviceName struct {
	ServiceName string `json:"service_name"`
	Username    string `json:"username"`
}

type foundRow struct {
	Score    float64                `json:"score"`
	Keybase  *foundUser             `json:"keybase,omitempty"`
	Service  *foundAt               `json:"service,omitempty"`
	Services map[string]serviceName `json:"services_summary"`
}

// userSearch: GET user/user_search, here or at a service of which people have proven
// names. client: go/service/usersearch.go:KeybaseAPISearchProvider.MakeSearchRequest
func userSearch(c *call) (any, error) {
	wanted, err := c.integer("num_wanted", searchWantedUsual)
	if err != nil {
		return nil, err
	}
	q := people.Query{Text: c.raw("q"), Service: c.raw("service"), Wanted: int(min(wanted, people.FoundMax))}
	if q.Service == "keybase" {
		q.Service = ""
	}
	if q.Service == people.ServiceFullName || q.Service == people.ServiceWallet {
		return foundReply(nil), nil
	}
	if c.who != nil {
		q.Prefer = func(u kbsig.UID) (bool, error) { return directory.Follows(c.view(), c.who.UID, u) }
	}
	found, err := people.Search(c.view(), q)
	if err != nil {
		return nil, err
	}
	rows := []foundRow{}
	for i, f := range found {
		row := foundRow{Score: 1 / float64(1+i), Services: map[string]serviceName{}}
		if c.flag("include_services_summary") {
			if row.Services, err = c.servicesOf(f.Account.UID); err != nil {
				return nil, err
			}
		}
		row.Keybase = &foundUser{
			Username: string(f.Account.Name), UID: f.Account.UID.String(), FullName: f.Account.FullName,
			PictureURL: c.pictureURLs(f.Account, []string{"square_360"})["square_360"],
			RawScore:   f.Score, IsFollowee: f.Preferred,
		}
		if q.Service != "" {
			row.Service = &foundAt{ServiceName: q.Service, Username: f.Name, PictureURL: row.Keybase.PictureURL, FullName: f.Account.FullName, Confirmed: true}
		}
		rows = append(rows, row)
	}
	return foundReply(rows), nil
}

func foundReply(rows []foundRow) any {
	if rows == nil {
		rows = []foundRow{}
	}
	return struct {
		List []foundRow `json:"list"`
	}{rows}
}

// servicesOf are the names that somebody has proven at other services.
func (c *call) servicesOf(u kbsig.UID) (map[string]serviceName, error) {
	proven, err := c.provenNames(u)
	if err != nil {
		return nil, err
	}
	out := make(map[string]serviceName, len(proven))
	for service, name := range proven {
		out[service] = serviceName{ServiceName: service, Username: name}
	}
	return out, nil
}
