package rest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/valyala/fasthttp"

	"github.com/keystead/keystead/bench/client"
	"github.com/keystead/keystead/compat/auth"
	"github.com/keystead/keystead/compat/status"
)

// exchange sends raw bytes and returns the answer's status line, its body, and
// whether the connection ended after it.
func exchange(t testing.TB, nc net.Conn, request string) (line, body string, ended bool) {
	t.Helper()
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(nc)
	var res fasthttp.Response
	if err := res.Read(in); err != nil {
		t.Fatalf("the answer to %.60q: %v", request, err)
	}
	line, body = fmt.Sprint(res.StatusCode()), string(res.Body())
	if res.ConnectionClose() {
		_, err := in.ReadByte()
		return line, body, err != nil
	}
	return line, body, false
}

const head = "Host: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"

// TestAmbiguousFramingIsRefused proves that a request whose body could be read in
// two ways is refused and ends its connection, and never becomes two requests.
func TestAmbiguousFramingIsRefused(t *testing.T) {
	d := openDoor(t)
	for _, framing := range []string{
		"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nabcde",
		"Content-Length: 5\r\ntransfer-encoding : identity\r\n\r\nabcde",
		"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
		"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
		"Content-Length: 5, 5\r\n\r\nabcde",
		"Content-Length: +5\r\n\r\nabcde",
		"Content-Length: -5\r\n\r\n",
		"Content-Length: 99999999999999999999\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5;\n\r\nabcde\r\n0\r\n\r\n",
		"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\nabcde",
	} {
		line, _, ended := exchange(t, d.dial(t), "POST /_/api/1.0/signup.json HTTP/1.1\r\n"+head+framing)
		if line != "400" || !ended {
			t.Errorf("%q: HTTP %s, ended %t", framing, line, ended)
		}
	}
}

// TestBodiesDoNotBecomeRequests proves that whatever a handler leaves of a body is
// not taken for the next request on the connection.
func TestBodiesDoNotBecomeRequests(t *testing.T) {
	d := openDoor(t)
	smuggled := "GET /_/api/1.0/no/such/thing.json HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, target := range []string{
		"POST /_/api/1.0/no/such/thing.json", "POST /elsewhere", "POST /_/api/1.0/merkle/root.json",
		"GET /_/api/1.0/merkle/root.json", "POST /_/api/1.0/key/multi.json", "POST /_/api/1.0/signup.json",
	} {
		for _, padding := range []int{0, 2 * bodyFirstBytes, bodyBytesMax + 1} {
			nc := d.dial(t)
			body := strings.Repeat(" ", padding) + smuggled
			_, _, ended := exchange(t, nc, fmt.Sprintf("%s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n", target, head, len(body))+body)
			if ended {
				continue
			}
			line, got, _ := exchange(t, nc, "GET /_/api/1.0/ping.json HTTP/1.1\r\nHost: x\r\n\r\n")
			if line != "200" || !strings.Contains(got, `"code":0`) {
				t.Errorf("%s with %d bytes before: the next answer is %s %s", target, padding, line, got)
			}
		}
	}
	if n := testutil.ToFloat64(d.Metrics.Unavailable.WithLabelValues("other")); n > 3 {
		t.Errorf("unknown endpoints were asked %v times", n)
	}
}

// TestDeclaredLengthsCostNothing proves that a length which is declared and never
// comes holds less than 64 KiB of memory for each connection, and that others are
// served meanwhile.
func TestDeclaredLengthsCostNothing(t *testing.T) {
	d := openDoor(t)
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc + m.StackInuse)
	}
	const conns = 300
	before := heap()
	for range conns {
		nc := d.dial(t)
		request := fmt.Sprintf("POST /_/api/1.0/signup.json HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n", head, bodyBytesMax)
		if _, err := io.WriteString(nc, request+strings.Repeat("a", bodyFirstBytes+1)); err != nil {
			t.Fatal(err)
		}
	}
	for d.gate.open() < conns {
		runtime.Gosched()
	}
	for range 20 {
		d.ask(t, get, apiPrefix+"merkle/root.json", "", "")
	}
	if each := (heap() - before) / conns; each > 64<<10 {
		t.Errorf("%d bytes for each connection", each)
	}
}

// TestBodiesArriveWhole proves that bodies of every size around the steps of the
// reader arrive as sent, in one piece or in many, and that larger ones are refused
// before they come.
func TestBodiesArriveWhole(t *testing.T) {
	d := openDoor(t)
	for _, n := range []int{0, 1, bodyFirstBytes - 1, bodyFirstBytes, bodyFirstBytes + 1, 3 * bodyFirstBytes, 64 << 10, 100_001} {
		body := "email_or_username=" + strings.Repeat("a", n)
		nc := d.dial(t)
		request := fmt.Sprintf("POST /_/api/1.0/login.json HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n", head, len(body))
		cut := len(body) / 2
		if _, err := io.WriteString(nc, request+body[:cut]); err != nil {
			t.Fatal(err)
		}
		_, got, ended := exchange(t, nc, body[cut:])
		want := `"BAD_LOGIN_USER_NOT_FOUND"`
		switch {
		case n == 0:
			want = "is missing"
		case n > mailBytesMax:
			want = "too long"
		case n < 2 || n > 16:
			want = "BAD_LOGIN"
		}
		if !strings.Contains(got, want) || ended {
			t.Errorf("%d bytes: %s, ended %t", len(body), got, ended)
		}
		if used := d.bodies.Used(); used != 0 {
			t.Errorf("%d bytes are not given back", used)
		}
	}
	_, got, ended := exchange(t, d.dial(t), fmt.Sprintf("POST /_/api/1.0/login.json HTTP/1.1\r\n%sContent-Length: %d\r\n\r\na", head, bodyBytesMax+1))
	if !strings.Contains(got, "larger than") || !ended {
		t.Errorf("too large: %s, ended %t", got, ended)
	}
}

// TestLargeHeadsEndTheirConnection proves that a connection is not kept with what a
// large request line or headers needed, and that the request itself is answered.
func TestLargeHeadsEndTheirConnection(t *testing.T) {
	d := openDoor(t)
	for _, tc := range []struct {
		query, header int
		ended         bool
	}{{10, 10, false}, {3000, 500, false}, {headerKeptMax, 1, true}, {1, headerKeptMax, true}, {7000, 7000, true}} {
		_, body, ended := exchange(t, d.dial(t), fmt.Sprintf("GET /_/api/1.0/merkle/root.json?x=%s HTTP/1.1\r\nHost: x\r\nX-Y: %s\r\n\r\n",
			strings.Repeat("a", tc.query), strings.Repeat("b", tc.header)))
		if code, _ := statusIn(t, "merkle/root", body); code != status.OK || ended != tc.ended {
			t.Errorf("%d and %d bytes: status %d, ended %t", tc.query, tc.header, code, ended)
		}
	}
	line, _, ended := exchange(t, d.dial(t), "GET /elsewhere?x="+strings.Repeat("a", headerKeptMax)+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if line != "404" || !ended {
		t.Errorf("elsewhere: HTTP %s, ended %t", line, ended)
	}
}

// TestCompressedBodiesAreRefused proves that no body is unpacked.
func TestCompressedBodiesAreRefused(t *testing.T) {
	d := openDoor(t)
	for _, coding := range []string{"gzip", "br", "zstd", "identity"} {
		_, body, _ := d.ask(t, post, apiPrefix+"login.json", "application/x-www-form-urlencoded", "email_or_username=a", "Content-Encoding", coding)
		if code, _ := statusIn(t, coding, body); code != status.InputError {
			t.Errorf("%s: %s", coding, body)
		}
	}
}

// TestManyArgumentsAreRefused proves that a form or a query of separators is refused
// before it is taken apart.
func TestManyArgumentsAreRefused(t *testing.T) {
	d := openDoor(t)
	many := strings.Repeat("a&", 4000)
	for _, r := range []struct{ method, path, form string }{
		{post, "login.json", many}, {post, "login.json?" + many, "a=b"}, {get, "getsalt.json?" + many, ""},
	} {
		_, body, _ := d.ask(t, r.method, apiPrefix+r.path, "application/x-www-form-urlencoded", r.form)
		if code, _ := statusIn(t, r.path[:8], body); code != status.InputError || !strings.Contains(body, "arguments") {
			t.Errorf("%s: %s", r.path[:8], body)
		}
	}
}

// TestJSONCaps proves which shapes of JSON are refused before they are decoded, and
// that what clients send passes.
func TestJSONCaps(t *testing.T) {
	row := `{"uid":"` + strings.Repeat("0", 32) + `","device_id":"` + strings.Repeat("0", 32) + `","ok":false,"username":"x"}`
	box := `{"generation":1,"receiver_kid":"` + strings.Repeat("0", 70) + `","box":"` + strings.Repeat("A", 100) + `"}`
	for _, good := range []string{
		`{}`, `[]`, ``, `{"sigs":[{"sig":"[[[[[[[[[[[[[[[[[[[[[[{{{{{{"}]}`, `{"a":"\"[[[[[[[[[[[[[[[[[[["}`,
		`{"user_configs":[` + strings.TrimSuffix(strings.Repeat(row+",", usersPerQuestionMax), ",") + `]}`,
		`{"per_user_key":{"boxes":[` + strings.TrimSuffix(strings.Repeat(box+",", 1000), ",") + `]}}`,
		strings.Repeat("[", jsonDepthMax) + strings.Repeat("]", jsonDepthMax),
	} {
		if err := checkJSON([]byte(good)); err != nil {
			t.Errorf("%.60s: %v", good, err)
		}
	}
	for _, bad := range []string{
		strings.Repeat("[", jsonDepthMax+1), strings.Repeat("[", 1<<19), strings.Repeat(`{"a":`, 1<<16),
		`{"sigs":[` + strings.Repeat("{},", 1<<17) + `{}]}`, `{"x":[` + strings.Repeat("1,", 1<<18) + `1]}`,
		`{` + strings.Repeat(`"a":1,`, 1<<16) + `"a":1}`,
	} {
		if err := checkJSON([]byte(bad)); err == nil {
			t.Errorf("%.60s was taken", bad)
		}
	}
}

// principal is an account as the door knows it.
func (d *door) principal(t testing.TB, a *client.Account) *auth.Principal {
	t.Helper()
	s, err := a.NewSession(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	who, _, err := d.Auth.Token(context.Background(), s.Token, s.CSRF)
	if err != nil {
		t.Fatal(err)
	}
	return &who
}

// bodyRoutes are the routes that take a body of JSON or a form.
func (d *door) bodyRoutes() (out []route) {
	for _, r := range d.table() {
		if r.method == post {
			out = append(out, r)
		}
	}
	return out
}

// FuzzBodies proves that no body of any route that takes one makes its handler panic
// or allocate more than 64 times its size and 1 MiB.
func FuzzBodies(f *testing.F) {
	d := openDoor(f)
	victim := d.signUp(f, "victim")
	who := *d.principal(f, victim)
	routes := d.bodyRoutes()
	for i := range routes {
		f.Add(i, true, []byte(`{"sigs":[{"sig":"","signing_kid":"0120"}],"per_user_key":{"generation":1,"boxes":[{}]}}`))
		f.Add(i, false, []byte("email_or_username=victim&pdpka4=&pdpka5=&username=a&salt=00"))
	}
	posts := teamPosts(f, victim)
	for i, r := range routes {
		for _, s := range posts {
			if r.name == "sig/multi" {
				f.Add(i, true, []byte(s))
			}
		}
	}
	for _, s := range []string{
		strings.Repeat("[", 1<<19), `{"sigs":[` + strings.Repeat("{},", 1<<16) + "{}]}", strings.Repeat("a&", 1<<17),
		`{"sigs":[` + strings.Repeat(`{}                                             ,`, 10000) + "{}]}",
		`{"stellar":[` + strings.Repeat(`{}                                             ,`, 10000) + "{}]}",
		`{"stellar":{` + strings.Repeat(`"abcdefghijkl":1,`, 30000) + `"a":1}}`,
		`{"device_eks":{` + strings.Repeat(`"abcdefghijklm":"",`, 20000) + `"a":""}}`,
		`{"user_configs":[` + strings.Repeat(`{}                                             ,`, 5000) + "{}]}",
		`{"per_user_key":{"boxes":[` + strings.Repeat(`{}                                             ,`, 10000) + "{}]}}",
	} {
		for i, r := range routes {
			switch r.name {
			case "key/multi", "sig/multi", "device/for_users":
				f.Add(i, true, []byte(s))
			case "signup":
				f.Add(i, false, []byte(s))
			}
		}
	}
	f.Fuzz(func(t *testing.T, n int, json bool, body []byte) {
		r := routes[uint(n)%uint(len(routes))]
		if len(body) > r.bodyMax() {
			return
		}
		var ctx fasthttp.RequestCtx
		ctx.Init(&fasthttp.Request{}, nil, nil)
		ctx.Request.Header.SetContentType("application/x-www-form-urlencoded")
		if json {
			ctx.Request.Header.SetContentType("application/json")
		}
		spent := allocated(func() {
			c := &call{s: d.Server, http: &ctx, route: &r, who: &who, content: bytes.Clone(body)}
			defer c.close()
			if err := c.arguments(); err != nil {
				return
			}
			_, _ = r.handler(c)
		})
		if most := 64*len(body) + 1<<20; spent > most {
			t.Fatalf("%s allocated %d bytes for a body of %d", r.name, spent, len(body))
		}
	})
}

// teamPosts are what somebody posts about a team: one to begin it, one with a new key in
// sight, one out of sight, and one that commits to that.
func teamPosts(f *testing.F, a *client.Account) (out []string) {
	ctx := context.Background()
	a.EditPost = func(_ string, body map[string]any) {
		b, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, string(b))
	}
	defer func() { a.EditPost = nil }()
	team, err := a.CreateTeam(ctx, "victims")
	for _, act := range []func(context.Context, *client.Team) (*client.Team, error){a.RotateTeam, a.RotateTeamHidden, a.RotateTeam} {
		if err != nil {
			break
		}
		team, err = act(ctx, team)
	}
	if err != nil {
		f.Fatal(err)
	}
	return out
}

// allocated is how many bytes f allocates, with whatever else runs.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}
