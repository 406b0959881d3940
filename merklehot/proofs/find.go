package proofs

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/merklehot/pvl"
)

// Clients take the server's word for where a proof is, and check what is there. So the
// server has to find it, in each network in its own way.

// hints lists where the proof may be, the most likely place first.
func (b *Book) hints(ctx context.Context, src *source, s *service, p *Proof) ([]string, *pvl.Failure) {
	if at := s.defaultHint(p.Name); at != "" {
		return []string{at}, nil
	}
	var found []string
	var f *pvl.Failure
	switch s.typ {
	case TypeGitHub:
		found, f = findGists(ctx, src, p)
	case TypeReddit:
		found, f = findPosts(ctx, src, p)
	case TypeRooter:
		var err error
		if b.o.Find != nil {
			if found, err = b.o.Find(src.r, s.name, Normal(p.Name)); err != nil {
				f = &pvl.Failure{Status: pvl.StatusInternal, Text: err.Error()}
			}
		}
	default:
		f = &pvl.Failure{Status: pvl.StatusUnchecked, Text: "that network shows posts to its own users only"}
	}
	if p.Hint != "" {
		return append([]string{p.Hint}, found...), nil
	}
	return found, f
}

// findGists asks for the user's newest public gists.
func findGists(ctx context.Context, src *source, p *Proof) ([]string, *pvl.Failure) {
	page, f := getPage(ctx, src, "https://api.github.com/users/"+p.Name+"/gists?per_page=30")
	if f != nil {
		return nil, f
	}
	var gists []struct {
		Files map[string]struct {
			Raw string `json:"raw_url"`
		} `json:"files"`
	}
	if err := json.Unmarshal(page, &gists); err != nil {
		return nil, &pvl.Failure{Status: pvl.StatusParse, Text: "the list of gists is none"}
	}
	var likely, other []string
	for _, g := range gists {
		for name, file := range g.Files {
			if strings.Contains(strings.ToLower(name), "keybase") {
				likely = append(likely, file.Raw)
			} else {
				other = append(other, file.Raw)
			}
		}
	}
	return first(append(likely, other...)), nil
}

// findPosts asks for the user's newest posts and takes those that name the proof.
func findPosts(ctx context.Context, src *source, p *Proof) ([]string, *pvl.Failure) {
	page, f := getPage(ctx, src, "https://www.reddit.com/user/"+p.Name+"/submitted.json")
	if f != nil {
		return nil, f
	}
	var list struct {
		Data struct {
			Children []struct {
				Data struct {
					Title     string `json:"title"`
					Permalink string `json:"permalink"`
				} `json:"data"`
			} `json:"children"`
		} `json:"data"`
	}
	if err := json.Unmarshal(page, &list); err != nil {
		return nil, &pvl.Failure{Status: pvl.StatusParse, Text: "the list of posts is none"}
	}
	var out []string
	for _, c := range list.Data.Children {
		if strings.Contains(c.Data.Title, p.SigID.Medium()) && strings.HasPrefix(c.Data.Permalink, "/r/") {
			out = append(out, "https://www.reddit.com"+c.Data.Permalink+".json")
		}
	}
	return first(out), nil
}

func hackerNewsPage(name string) string {
	return "https://hacker-news.firebaseio.com/v0/user/" + name + "/about.json"
}

func first(list []string) []string { return list[:min(len(list), candidatesMax)] }

func getPage(ctx context.Context, src pvl.Source, address string) ([]byte, *pvl.Failure) {
	page, err := src.Page(ctx, address)
	if err != nil {
		return nil, pvl.FailureOf(err)
	}
	return page, nil
}

// look asks a generic service for the proofs of a name, as clients do.
// client: go/externals/proof_service_generic_social.go:CheckStatus
func (c *Config) look(ctx context.Context, src *source, p *Proof, user kbsig.Username) (string, *pvl.Failure) {
	at, ok := c.fill(c.CheckURL, p.Name)
	if !ok {
		return "", &pvl.Failure{Status: pvl.StatusBadUsername, Text: "nobody can have that name there"}
	}
	page, f := getPage(ctx, src, at)
	if f != nil {
		return "", f
	}
	results, err := pvl.SelectIn(page, c.CheckPath)
	if err != nil || len(results) != 1 {
		return "", &pvl.Failure{Status: pvl.StatusContent, Text: "the answer does not have the form that was agreed on"}
	}
	raw, err := json.Marshal(results[0])
	if err != nil {
		return "", &pvl.Failure{Status: pvl.StatusContent, Text: "the answer does not have the form that was agreed on"}
	}
	var proofs []struct {
		SigHash    string `json:"sig_hash"`
		KbUsername string `json:"kb_username"`
	}
	if err := json.Unmarshal(raw, &proofs); err != nil {
		return "", &pvl.Failure{Status: pvl.StatusContent, Text: "the list of proofs does not have the form that was agreed on"}
	}
	for _, pr := range proofs {
		if pr.KbUsername == string(user) && pr.SigHash == p.SigID.SigID() {
			return at, nil
		}
	}
	return "", &pvl.Failure{Status: pvl.StatusNotFound, Text: "the service does not have the proof"}
}
