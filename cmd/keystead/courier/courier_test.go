package courier

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/keystead/keystead/chatlog/push"
)

func b64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The example of RFC 8291, appendix A, comes out byte for byte.
func TestSealIsTheStandards(t *testing.T) {
	own, err := ecdh.P256().NewPrivateKey(b64(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	to, err := ecdh.P256().NewPublicKey(b64(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := sealWith(own, b64(t, "DGv6ra1nlYgDCS1FRnbzlw"), to, b64(t, "BTBZMqHH6r4Tts7J_aSIgg"), []byte("When I grow up, I want to be a watermelon"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	if base64.RawURLEncoding.EncodeToString(got) != want {
		t.Errorf("got %s", base64.RawURLEncoding.EncodeToString(got))
	}
}

// service is a push service that answers a code and remembers what it was sent.
type service struct {
	*httptest.Server
	code   int
	body   []byte
	header http.Header
}

func newService(t *testing.T) *service {
	s := &service{code: http.StatusCreated}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.body, _ = io.ReadAll(r.Body)
		s.header = r.Header
		if s.code == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(s.code)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) courier(t *testing.T, allowed func(netip.Addr) bool) *UnifiedPush {
	c := NewUnifiedPush(Options{
		Allowed: allowed, Rand: rand.Reader,
		Roots: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
	})
	t.Cleanup(c.Close)
	return c
}

func anywhere(netip.Addr) bool { return true }

var followed = push.Notification{Type: "follow", Text: "bob follows you", Data: map[string]string{"username": "bob"}, At: 1}

// A notification reaches the endpoint of its device: in the clear without keys, and
// with keys so that only their holder reads it.
func TestUnifiedPushDelivers(t *testing.T) {
	s := newService(t)
	c := s.courier(t, anywhere)
	if err := c.Deliver(t.Context(), push.Token{Token: s.URL + "/up/alice"}, followed); err != nil {
		t.Fatal(err)
	}
	var got push.Notification
	if err := json.Unmarshal(s.body, &got); err != nil || got.Text != followed.Text || s.header.Get("TTL") != "86400" || s.header.Get("Content-Encoding") != "" {
		t.Errorf("%v: posted %s with %v", err, s.body, s.header)
	}

	device, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	auth := []byte("0123456789abcdef")
	token := fmt.Sprintf(`{"endpoint":%q,"p256dh":%q,"auth":%q}`, s.URL+"/up/alice",
		base64.URLEncoding.EncodeToString(device.PublicKey().Bytes()), base64.URLEncoding.EncodeToString(auth))
	if err := c.Deliver(t.Context(), push.Token{Token: token}, followed); err != nil {
		t.Fatal(err)
	}
	if s.header.Get("Content-Encoding") != "aes128gcm" || strings.Contains(string(s.body), "bob") {
		t.Errorf("posted %q with %v", s.body, s.header)
	}
	if err := json.Unmarshal(open(t, device, auth, s.body), &got); err != nil || got.Text != followed.Text {
		t.Errorf("%v: the device reads %+v", err, got)
	}
}

// open is a device's side of RFC 8291.
func open(t *testing.T, device *ecdh.PrivateKey, auth, message []byte) []byte {
	t.Helper()
	salt, server := message[:16], message[21:86]
	from, err := ecdh.P256().NewPublicKey(server)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := device.ECDH(from)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		b, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ikm := derive(shared, auth, "WebPush: info\x00"+string(device.PublicKey().Bytes())+string(server), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), message[86:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain[:len(plain)-1]
}

// Each answer of a push service means taken, never again, or not now.
func TestVerdicts(t *testing.T) {
	s := newService(t)
	c := s.courier(t, anywhere)
	for code, want := range map[int]error{
		200: nil, 201: nil, 202: nil, 302: push.ErrRefused, 400: push.ErrRefused, 404: push.ErrGone, 410: push.ErrGone,
		413: push.ErrRefused, 429: errNotNow, 500: errNotNow, 503: errNotNow,
	} {
		s.code = code
		err := c.Deliver(context.Background(), push.Token{Token: s.URL}, followed)
		final := errors.Is(err, push.ErrGone) || errors.Is(err, push.ErrRefused)
		if want == errNotNow && (err == nil || final) || want != errNotNow && !errors.Is(err, want) {
			t.Errorf("%d means %v", code, err)
		}
	}
}

var errNotNow = errors.New("not now")

// A device cannot make the server talk to its own network, by no name and no form of
// token, and no error shows the endpoint.
func TestEndpointsAreStrangers(t *testing.T) {
	s := newService(t)
	c := s.courier(t, nil)
	for _, token := range []string{
		s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), "https://[::1]:1/", "https://[::ffff:127.0.0.1]:1/",
		"https://10.0.0.1/", "https://169.254.169.254/latest", "https://100.64.0.1/", "https://0.0.0.0/", "https://[fe80::1]/",
	} {
		if err := c.Deliver(t.Context(), push.Token{Token: token}, followed); !errors.Is(err, push.ErrRefused) || strings.Contains(err.Error(), "latest") {
			t.Errorf("%s: %v", token, err)
		}
	}
	for _, token := range []string{
		"", "x", "http://example.org/", "ftp://example.org/", "https://user:pass@example.org/", "{", `{"endpoint":"x"}`, "https:///x",
		`{"endpoint":"https://example.org/","p256dh":"AAAA","auth":"AAAA"}`,
	} {
		if err := c.Deliver(t.Context(), push.Token{Token: token}, followed); !errors.Is(err, push.ErrGone) {
			t.Errorf("%q: %v", token, err)
		}
	}
	if s.body != nil {
		t.Errorf("posted %s", s.body)
	}
}
