package pvl

// revision counts changes of the programs, for people.
const revision = 1

// Kit is this server's programs: of our own authorship, for the services whose proofs
// stock clients can make. With devel there is one more, for the network that exists
// only in their tests.
func Kit(devel bool) *Program {
	p := &Program{Version: 1, Revision: revision, Services: map[string][]Script{
		TypeWeb:      {web("/.well-known/keybase.txt"), web("/keybase.txt")},
		TypeDNS:      {dnsRecord()},
		"github":     {gist()},
		"reddit":     {redditPost()},
		"hackernews": {hackerNews()},
		"twitter":    {tweet()},
		"facebook":   {facebookPost()},
	}}
	if devel {
		p.Services["rooter"] = []Script{rooterToot()}
	}
	return p
}

// web: the file at one of two places of the site holds the signature.
func web(path string) Script {
	return Script{
		{Fill: &Fill{With: "%{protocol}://%{hostname}" + path, Into: "file"}},
		{Fetch: &Fetch{Kind: "string", From: "file", Into: "text"}},
		{AssertBase64: &AssertBase64{Needle: "sig", Haystack: "text", Error: &Because{"TEXT_NOT_FOUND", "the file does not hold the signature"}}},
	}
}

// dnsRecord: a text record is the proof and nothing else.
func dnsRecord() Script {
	return Script{
		{Whitespace: &Whitespace{From: "txt", Into: "record"}},
		{AssertRegex: &AssertRegex{From: "record", Pattern: `^keybase-site-verification=%{sig_id_medium}$`, Error: &Because{"NOT_FOUND", "the record is not the proof"}}},
	}
}

// gist: a file of a public gist of the user's holds the signature. The address names
// the owner, and only the owner's gists are served there.
func gist() Script {
	return Script{
		{AssertRegex: &AssertRegex{From: "hint_url", Fold: true, Pattern: `^https://gist\.githubusercontent\.com/%{username_service}/[0-9a-f]{20,40}/raw/([0-9a-f]{40}/)?[a-z0-9_.%-]+$`, Error: &Because{"BAD_API_URL", "not the address of a gist of the user"}}},
		{Fetch: &Fetch{Kind: "string", From: "hint_url", Into: "text"}},
		{AssertBase64: &AssertBase64{Needle: "sig", Haystack: "text", Error: &Because{"TEXT_NOT_FOUND", "the gist does not hold the signature"}}},
	}
}

// redditPost: a post of the user's in the place for such posts names the proof in its
// title, which nobody can edit.
func redditPost() Script {
	post := func(field string) []Selector {
		return []Selector{At(0), Key("data"), Key("children"), At(0), Key("data"), Key(field)}
	}
	return Script{
		{AssertRegex: &AssertRegex{From: "hint_url", Fold: true, Pattern: `^https://www\.reddit\.com/r/keybaseproofs/comments/[a-z0-9]+/[a-z0-9_%-]*/?\.json$`, Error: &Because{"BAD_API_URL", "not the address of a post among the proofs"}}},
		{Fetch: &Fetch{Kind: "json", From: "hint_url"}},
		{SelectJSON: &SelectJSON{Selectors: post("author"), Into: "author"}},
		{AssertCompare: &AssertCompare{Cmp: "cicmp", A: "author", B: "username_service", Error: &Because{"BAD_USERNAME", "somebody else posted it"}}},
		{SelectJSON: &SelectJSON{Selectors: post("subreddit"), Into: "place"}},
		{AssertRegex: &AssertRegex{From: "place", Fold: true, Pattern: `^keybaseproofs$`, Error: &Because{"CONTENT_FAILURE", "posted in another place"}}},
		{SelectJSON: &SelectJSON{Selectors: post("title"), Into: "title"}},
		{AssertRegex: &AssertRegex{From: "title", Pattern: `^(.*[^a-zA-Z0-9_-])?%{sig_id_medium}([^a-zA-Z0-9_-].*)?$`, Error: &Because{"TITLE_NOT_FOUND", "the title does not name the proof"}}},
	}
}

// hackerNews: what the user says of itself names the proof.
func hackerNews() Script {
	return Script{
		{AssertRegex: &AssertRegex{From: "hint_url", Pattern: `^https://hacker-news\.firebaseio\.com/v0/user/%{username_service}/about\.json$`, Error: &Because{"BAD_API_URL", "not the address of the user's page"}}},
		{Fetch: &Fetch{Kind: "string", From: "hint_url", Into: "page"}},
		{Whitespace: &Whitespace{From: "page", Into: "text"}},
		{AssertRegex: &AssertRegex{From: "text", Pattern: `^(.*[^a-zA-Z0-9_-])?%{sig_id_medium}([^a-zA-Z0-9_-].*)?$`, Error: &Because{"TEXT_NOT_FOUND", "the page does not name the proof"}}},
	}
}

// tweet: what the service says of a post for others to embed names user and proof.
func tweet() Script {
	return Script{
		{AssertRegex: &AssertRegex{From: "hint_url", Fold: true, Pattern: `^https://publish\.twitter\.com/oembed\?url=https://twitter\.com/%{username_service}/status/[0-9]+$`, Error: &Because{"BAD_API_URL", "not the address of a post of the user"}}},
		{Fetch: &Fetch{Kind: "json", From: "hint_url"}},
		{SelectJSON: &SelectJSON{Selectors: []Selector{Key("author_url")}, Into: "author"}},
		{AssertRegex: &AssertRegex{From: "author", Fold: true, Pattern: `^https://(twitter|x)\.com/%{username_service}$`, Error: &Because{"BAD_USERNAME", "somebody else posted it"}}},
		{SelectJSON: &SelectJSON{Selectors: []Selector{Key("html")}, Into: "page"}},
		{Whitespace: &Whitespace{From: "page", Into: "text"}},
		{AssertRegex: &AssertRegex{From: "text", Pattern: `^(.*[^a-zA-Z0-9_-])?%{sig_id_short}([^a-zA-Z0-9_-].*)?$`, Error: &Because{"TEXT_NOT_FOUND", "the post does not name the proof"}}},
	}
}

// facebookPost: a public post of the user's names the proof.
func facebookPost() Script {
	return Script{
		{AssertRegex: &AssertRegex{From: "hint_url", Fold: true, Pattern: `^https://m\.facebook\.com/%{username_service}/posts/[0-9]+$`, Error: &Because{"BAD_API_URL", "not the address of a post of the user"}}},
		{Fetch: &Fetch{Kind: "string", From: "hint_url", Into: "page"}},
		{Whitespace: &Whitespace{From: "page", Into: "text"}},
		{AssertRegex: &AssertRegex{From: "text", Pattern: `^(.*[^a-zA-Z0-9_-])?%{sig_id_medium}([^a-zA-Z0-9_-].*)?$`, Error: &Because{"TEXT_NOT_FOUND", "the post does not name the proof"}}},
	}
}

// rooterToot: the post is there and names the proof. The client sends the request to
// its own server, whatever the host. client: go/pvl/helpers.go:rooterRewriteURL
func rooterToot() Script {
	return Script{
		{AssertRegex: &AssertRegex{From: "hint_url", Fold: true, Pattern: `^https?://[a-z0-9.:_-]+/_/api/1\.0/rooter/%{username_service}/[0-9a-f]+\.json$`, Error: &Because{"BAD_API_URL", "not the address of a post of the user"}}},
		{Fetch: &Fetch{Kind: "json", From: "hint_url"}},
		{SelectJSON: &SelectJSON{Selectors: []Selector{Key("toot"), Key("username")}, Into: "author"}},
		{AssertCompare: &AssertCompare{Cmp: "cicmp", A: "author", B: "username_service", Error: &Because{"BAD_USERNAME", "somebody else posted it"}}},
		{SelectJSON: &SelectJSON{Selectors: []Selector{Key("toot"), Key("post")}, Into: "post"}},
		{Whitespace: &Whitespace{From: "post", Into: "text"}},
		{AssertRegex: &AssertRegex{From: "text", Pattern: `^(.*[^a-zA-Z0-9_-])?%{sig_id_medium}([^a-zA-Z0-9_-].*)?$`, Error: &Because{"TEXT_NOT_FOUND", "the post does not name the proof"}}},
	}
}
