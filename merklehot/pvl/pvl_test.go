package pvl

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/keystead/keystead/compat/kbsig"
	"github.com/keystead/keystead/engine/fetch"
)

// site is pages and records that exist.
type site struct {
	pages map[string]string
	txts  map[string][]string
	asked []string
}

func (s *site) Page(_ context.Context, address string) ([]byte, error) {
	s.asked = append(s.asked, address)
	if p, ok := s.pages[address]; ok {
		return []byte(p), nil
	}
	return nil, fetch.NotFound()
}

func (s *site) TXT(_ context.Context, name string) ([]string, error) {
	if t, ok := s.txts[name]; ok {
		return t, nil
	}
	return nil, errors.New("the DNS does not answer")
}

var sample = Proof{Username: "alice", Packet: []byte(strings.Repeat("signed ", 20)), SigID: kbsig.SigIDBase{1, 2, 3, 0xfe}}

// post is a page of reddit's with one post.
func redditPage(author, place, title string) string {
	b, _ := json.Marshal([]any{map[string]any{"data": map[string]any{"children": []any{
		map[string]any{"data": map[string]any{"author": author, "subreddit": place, "title": title}},
	}}}})
	return string(b)
}

// TestPrograms proves, for the program of every service, that the right page passes and
// that what an attacker could put in its place does not.
func TestPrograms(t *testing.T) {
	sig := base64.StdEncoding.EncodeToString(sample.Packet)
	medium, short := sample.SigID.Medium(), sample.SigID.Short()
	other := kbsig.SigIDBase{9}
	gist := "https://gist.githubusercontent.com/alice/" + strings.Repeat("0a", 10) + "/raw/keybase.md"
	about := "https://hacker-news.firebaseio.com/v0/user/alice/about.json"
	post := "https://www.reddit.com/r/KeybaseProofs/comments/abc/my_proof/.json"
	toot := "http://localhost:3000/_/api/1.0/rooter/alice/00ff.json"
	tweet := "https://publish.twitter.com/oembed?url=https://twitter.com/alice/status/123"
	for _, tc := range []struct {
		name, typ, hint, page string
		want                  Status
	}{
		{"gist", "github", gist, "### proof\n\n```\n" + sig + "\n```\n", 0},
		{"gist in several lines", "github", gist, sig[:60] + "\n" + sig[60:] + "\n", 0},
		{"gist of somebody else", "github", strings.Replace(gist, "alice", "mallory", 1), sig, StatusBadURL},
		{"gist elsewhere", "github", "https://gist.githubusercontent.com.evil.example/alice/" + strings.Repeat("0a", 10) + "/raw/x", sig, StatusBadURL},
		{"gist with a query", "github", gist + "?x=https://evil.example", sig, StatusBadURL},
		{"gist without the proof", "github", gist, "nothing", StatusTextNotFound},
		{"gist in the middle of a line", "github", gist, "see " + sig, StatusTextNotFound},
		{"gist with more in the block", "github", gist, "aaaa\n" + sig, StatusTextNotFound},
		{"hacker news", "hackernews", about, `"[ my proof: https://keybase.io/alice/sigs/` + medium + ` ]"`, 0},
		{"hacker news, escaped", "hackernews", about, `"https:&#x2F;&#x2F;keybase.io&#x2F;sigs&#x2F;` + medium + `"`, 0},
		{"hacker news, longer id", "hackernews", about, `"` + medium + `x"`, StatusTextNotFound},
		{"hacker news, other id", "hackernews", about, `"` + other.Medium() + `"`, StatusTextNotFound},
		{"hacker news of another", "hackernews", strings.Replace(about, "alice", "Alice", 1), medium, StatusBadURL},
		{"reddit", "reddit", post, redditPage("Alice", "KeybaseProofs", "My proof ("+medium+")"), 0},
		{"reddit by another", "reddit", post, redditPage("mallory", "KeybaseProofs", medium), StatusBadUsername},
		{"reddit elsewhere", "reddit", post, redditPage("alice", "pics", medium), StatusContent},
		{"reddit without", "reddit", post, redditPage("alice", "KeybaseProofs", "hello"), StatusTitleNotFound},
		{"reddit, not JSON", "reddit", post, "<html>", StatusParse},
		{"reddit, two documents", "reddit", post, redditPage("alice", "KeybaseProofs", medium) + "{}", StatusParse},
		{"reddit, wrong address", "reddit", "https://www.reddit.com/r/pics/comments/abc/x/.json", "", StatusBadURL},
		{"twitter", "twitter", tweet, `{"author_url":"https://twitter.com/Alice","html":"<p>` + short + `</p>"}`, 0},
		{"twitter by another", "twitter", tweet, `{"author_url":"https://twitter.com/mallory","html":"` + short + `"}`, StatusBadUsername},
		{"rooter", "rooter", toot, `{"toot":{"username":"alice","post":"hello ` + medium + ` bye"}}`, 0},
		{"rooter, other post", "rooter", toot, `{"toot":{"username":"alice","post":"` + other.Medium() + `"}}`, StatusTextNotFound},
		{"nothing there", "rooter", strings.Replace(toot, "00ff", "00fe", 1), "", StatusHTTP400},
		{"no such service", "coinbase", "", "", StatusInvalid},
	} {
		pr := sample
		pr.Remote, pr.Hint = "alice", tc.hint
		src := &site{pages: map[string]string{}}
		if tc.page != "" {
			src.pages[tc.hint] = tc.page
		}
		_, f := Kit(true).Run(context.Background(), src, tc.typ, pr)
		if got := statusOf(f); got != tc.want {
			t.Errorf("%s: status %d, want %d (%v)", tc.name, got, tc.want, f)
		}
	}
}

func statusOf(f *Failure) Status {
	if f == nil {
		return 0
	}
	return f.Status
}

// TestSites proves that a web site's proof is found at either place, and a domain's in
// any record of the domain or under _keybase, and that nothing else will do.
func TestSites(t *testing.T) {
	sig := base64.StdEncoding.EncodeToString(sample.Packet)
	pr := sample
	pr.Hostname, pr.Protocol = "site.example", "https"
	for _, place := range []string{"/.well-known/keybase.txt", "/keybase.txt"} {
		src := &site{pages: map[string]string{"https://site.example" + place: "=====\n" + sig + "\n=====\n"}}
		regs, f := Kit(false).Run(context.Background(), src, TypeWeb, pr)
		if f != nil || regs["file"] != "https://site.example"+place {
			t.Errorf("%s: %v, %v", place, regs["file"], f)
		}
	}
	http := &site{pages: map[string]string{"http://site.example/keybase.txt": sig}}
	if _, f := Kit(false).Run(context.Background(), http, TypeWeb, pr); statusOf(f) != StatusHTTP400 {
		t.Errorf("http in the place of https: %v", f)
	}
	record := "keybase-site-verification=" + sample.SigID.Medium()
	for _, tc := range []struct {
		txts map[string][]string
		want Status
	}{
		{map[string][]string{"site.example": {"v=spf1", record}}, 0},
		{map[string][]string{"site.example": {"\t" + record + " "}}, 0},
		{map[string][]string{"site.example": {}, "_keybase.site.example": {record}}, 0},
		{map[string][]string{"_keybase.site.example": {record}}, 0},
		{map[string][]string{"site.example": {record + "x", "x" + record, strings.ToUpper(record)}}, StatusNotFound},
		{map[string][]string{}, StatusDNS},
	} {
		_, f := Kit(false).Run(context.Background(), &site{txts: tc.txts}, TypeDNS, pr)
		if statusOf(f) != tc.want {
			t.Errorf("%v: %v, want %d", tc.txts, f, tc.want)
		}
	}
}

// TestMachine proves the rules that programs cannot break: registers are set once,
// patterns are whole, a page is fetched once, and quoted names are never patterns.
func TestMachine(t *testing.T) {
	src := &site{pages: map[string]string{"https://a.example/": "x"}}
	for name, s := range map[string]Script{
		"set twice":        {{Fill: &Fill{With: "a", Into: "x"}}, {Fill: &Fill{With: "b", Into: "x"}}},
		"set a given one":  {{Fill: &Fill{With: "a", Into: "sig"}}},
		"read an unset":    {{Fill: &Fill{With: "%{nothing}", Into: "x"}}},
		"other kind":       {{AssertRegex: &AssertRegex{From: "hostname", Pattern: "^.*$"}}},
		"open pattern":     {{AssertRegex: &AssertRegex{From: "hint_url", Pattern: "a"}}},
		"broken pattern":   {{AssertRegex: &AssertRegex{From: "hint_url", Pattern: "^($"}}},
		"fetch twice":      {{Fetch: &Fetch{Kind: "string", From: "hint_url", Into: "x"}}, {Fetch: &Fetch{Kind: "string", From: "hint_url", Into: "y"}}},
		"select from none": {{SelectJSON: &SelectJSON{Selectors: []Selector{Key("a")}, Into: "x"}}},
		"nothing":          {{}},
	} {
		p := &Program{Services: map[string][]Script{"x": {s}}}
		pr := sample
		pr.Hint = "https://a.example/"
		if _, f := p.Run(context.Background(), src, "x", pr); statusOf(f) != StatusInvalid {
			t.Errorf("%s: %v", name, f)
		}
	}
	quote := &Program{Services: map[string][]Script{"x": {{{AssertRegex: &AssertRegex{From: "hint_url", Pattern: "^%{username_service}$"}}}}}}
	pr := sample
	pr.Remote, pr.Hint = ".*", "anything"
	if _, f := quote.Run(context.Background(), src, "x", pr); statusOf(f) != StatusContent {
		t.Errorf("a name was taken as a pattern: %v", f)
	}
}

// TestKitIsWhatClientsParse proves that the programs survive the way through JSON, one
// instruction a step, as clients demand, and that only devel has rooter.
func TestKitIsWhatClientsParse(t *testing.T) {
	b, err := json.Marshal(Kit(false))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Services map[string][][]map[string]any `json:"services"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Services) != 7 || doc.Services["rooter"] != nil || len(Kit(true).Services["rooter"]) != 1 {
		t.Errorf("services: %d", len(doc.Services))
	}
	for name, scripts := range doc.Services {
		for _, s := range scripts {
			for i, step := range s {
				if len(step) != 1 {
					t.Errorf("%s: step %d has %d instructions", name, i, len(step))
				}
			}
		}
	}
}

// FuzzSelect proves that no page and no path crashes a selection.
func FuzzSelect(f *testing.F) {
	f.Add(`{"a":[1,"x",true,null]}`, `["a",-1]`)
	f.Add(`[[{}]]`, `[{"all":true},0]`)
	f.Fuzz(func(t *testing.T, page, path string) {
		var sel []Selector
		if json.Unmarshal([]byte(path), &sel) != nil {
			return
		}
		found, err := SelectIn([]byte(page), sel)
		for _, v := range found {
			simple(v)
		}
		if err != nil && found != nil {
			t.Error("an error and a result")
		}
	})
}
