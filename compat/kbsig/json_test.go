package kbsig

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

const workedTrack = `{"body":{"key":{"eldest_kid":"0120759cb0fb2af733bcf3bf2f4e10dbaf2621444781420b89821a3fdb7590b0468f0a","host":"keybase.io","kid":"0120759cb0fb2af733bcf3bf2f4e10dbaf2621444781420b89821a3fdb7590b0468f0a","uid":"2bd806c97f0e00af1a1fc3328fa76319","username":"alice"},"merkle_root":{"ctime":1795290021,"hash":"c7639b3527b1b18a5d62784d6bda09da68dbb754ac89265eeae2be610afa0321f1a484eb3964a6d4a17407be97ba4fed32662ba358a04851bac17fbf8b81ecbb","hash_meta":"b45267fa5dd4c55488d7ade85ba4715da6220faa6216c8a9c545d74516b71be9","seqno":8},"track":{"basics":{"id_version":4,"last_id_change":1700000000,"username":"bob"},"entropy":"8SBqUAB8URv0pFLPOSkJKllb","id":"81b637d8fcd2c6da6359e6963113a119","key":{"kid":"0120d7abbac3839ac134922fdfbdbf1382b38299d6eb4f44b8b1377baf948a327ab80a"},"remote_proofs":[],"seq_tail":{"payload_hash":"da03902e94c758cf1f158e3fa252f2fe1621d0f15f067573cc333c78a7f95af6","seqno":3,"sig_id":"6a03b4755624b0b37fb396bce6b28f2271fcf57ca3e8cc4df98456e2f83612590f"}},"type":"track","version":2},"client":{"name":"keybase.io go client","version":"6.3.0"},"ctime":1795290022,"expire_in":504576000,"prev":"7831aaf5d750e9215e10191f8184d17e141d6f897a8961527364734b16861305","seqno":10,"tag":"signature"}`

// Real inner links parse and hash to the ids of the worked examples.
func TestWorkedInner(t *testing.T) {
	if _, err := ParseSignedJSON([]byte(workedTrack), true); err != nil {
		t.Fatal(err)
	}
	if got := LinkIDOf([]byte(workedTrack)).String(); got != "2ac28ef4129f508f31e5221a0b691a5035db366fb25491ba9617cdc9f2c50e16" {
		t.Fatal(got)
	}
}

// Only the text that json.Marshal writes is taken: no other spelling of the same
// values, and nothing on which two JSON readers could disagree.
func TestJSONSpelling(t *testing.T) {
	for _, ok := range []string{
		`{}`, `{"a":[],"b":{},"c":null,"d":true,"e":-12,"f":0,"g":""}`,
		`{"a":"é 日本 😀 \u003c\u003e\u0026 \u2028 \\ \""}`, `{"a":9007199254740992}`, `{"a-b.C_9":1}`, `{"a":"\n"}`,
	} {
		if _, err := ParseSignedJSON([]byte(ok), true); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{
		``, `[]`, `1`, `{`, `{} `, ` {}`, `{}{}`, `{"a" :1}`, `{"a": 1}`, `{"a":1,}`, `{,}`, `{"a":1 }`, `{a:1}`,
		`{"b":1,"a":2}`, `{"a":1,"a":1}`, `{"":1}`, `{"\u0061":1}`, `{"a b":1}`, `{"é":1}`,
		`{"a":1.0}`, `{"a":1e2}`, `{"a":01}`, `{"a":-0}`, `{"a":+1}`, `{"a":9007199254740993}`, `{"a":0x1}`, `{"a":NaN}`,
		`{"a":"<"}`, `{"a":"&"}`, `{"a":"\/"}`, `{"a":"\u0041"}`, `{"a":"\u00e9"}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud83d"}`,
		`{"a":"\t"}`, `{"a":"\r"}`, `{"a":"\u0000"}`, `{"a":"\u000a"}`, "{\"a\":\"\n\"}", "{\"a\":\"\xff\"}", "{\"a\":\"\x7f\"}", "{\"a\":\"\u2028\"}", `{"a":"\x41"}`, `{"a":"`,
		`{"a":nul}`, `{"a":True}`, `{"a":[1,]}`, `{"a":[1 ,2]}`, `{"a":'b'}`, "\ufeff{}", `{"a":1}//`,
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
		`{"a":"` + strings.Repeat("x", InnerBytesMax) + `"}`,
		`{"a":[` + strings.Repeat("0,", innerMembersMax) + `0]}`,
	} {
		if _, err := ParseSignedJSON([]byte(bad), true); !errors.Is(err, ErrJSON) {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
	if _, err := ParseSignedJSON([]byte(`{"b":1,"a":2}`), false); err != nil {
		t.Error("unsorted is for the caller to judge")
	}
}

// A string of several lines is there for who asks for the value as it is, which those do
// who know that it is armour; names and the like have one line.
func TestLinesInJSON(t *testing.T) {
	v, err := ParseSignedJSON([]byte(`{"a":"b\nc"}`), true)
	if err != nil {
		t.Fatal(err)
	}
	s := v.Root()
	if got := s.Value("a"); got.Str != "b\nc" || s.Err() != nil {
		t.Fatalf("%q, %v", got.Str, s.Err())
	}
	if got := s.String("a"); got != "" || !errors.Is(s.Err(), ErrJSON) {
		t.Fatalf("%q, %v", got, s.Err())
	}
}

// Whatever is taken as signed JSON is what Go marshals from it, survives being
// quoted for a client and unquoted by it, and values lie where they are said to.
func FuzzSignedJSON(f *testing.F) {
	f.Add([]byte(workedTrack))
	f.Add([]byte(`{"a":"\u003c\\\"","b":[1,{"c":null}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var v *JSONValue
		var err error
		frugal(t, len(doc), func() { v, err = ParseSignedJSON(doc, true) })
		if err != nil {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		var any map[string]any
		if err := dec.Decode(&any); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(any)
		if err != nil || !bytes.Equal(again, doc) {
			t.Fatalf("marshals to %s", again)
		}
		quoted := string(appendQuoted(nil, string(doc)))
		if s, err := strconv.Unquote(quoted); err != nil || s != string(doc) {
			t.Fatalf("Go unquotes %s, %v", s, err)
		}
		var back string
		if err := json.Unmarshal([]byte(quoted), &back); err != nil || back != string(doc) {
			t.Fatalf("JSON unquotes %s, %v", back, err)
		}
		if v.Off != 0 || v.End != len(doc) {
			t.Fatal("offsets")
		}
	})
}

// Whatever is taken as a signature packet has one encoding, and no key signed it that did
// not.
func FuzzSignature(f *testing.F) {
	f.Add(SignPacket(testKey("a"), []byte("payload")))
	f.Add(SignPacket(testKey("a"), bytes.Repeat([]byte{'x'}, 300)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s *Signature
		var err error
		frugal(t, len(b), func() { s, err = DecodeSignature(b) })
		if err != nil {
			return
		}
		if s.Hashed && !bytes.Equal(EncodeSignature(s.KID, s.Payload, s.Sig), b) {
			t.Fatal("another encoding was taken")
		}
		if s.KID != KIDOfPrivate(testKey("a")) && s.Verify() == nil {
			t.Fatal("verifies under a key that never signed")
		}
	})
}

// Whatever is taken as an encryption packet holds a ciphertext.
func FuzzEncryption(f *testing.F) {
	f.Add(testBox(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e *Encryption
		var err error
		frugal(t, len(b), func() { e, err = DecodeEncryption(b) })
		if err == nil && (e.CiphertextBytes == 0 || e.CiphertextBytes > len(b)) {
			t.Fatal("ciphertext length")
		}
	})
}

// Whatever is taken as an outer link has one encoding, which is what is signed.
func FuzzOuter(f *testing.F) {
	h := LinkID{1}
	f.Add((&Outer{Fields: 7, Seqno: 10, Prev: h, Curr: h, Type: LinkTrack}).Encode())
	f.Add((&Outer{Fields: 9, Seqno: 1, Curr: h, Type: LinkEldest, HighSkip: &HighSkip{}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var o *Outer
		var err error
		frugal(t, len(b), func() { o, err = DecodeOuter(b) })
		if err == nil && !bytes.Equal(o.Encode(), b) {
			t.Fatal("another encoding was taken")
		}
	})
}

func loginProof(ctime int64, bend func(map[string]any)) string {
	key := testKey("password")
	p := map[string]any{
		"body": map[string]any{
			"auth": map[string]any{"nonce": strings.Repeat("0a", 16), "session": "c2Vzc2lvbg=="},
			"key":  map[string]any{"host": "keybase.io", "kid": KIDOfPrivate(key).String(), "username": "Alice"},
			"type": "auth", "version": 1,
		}, "ctime": ctime, "expire_in": 86400, "tag": "signature",
	}
	if bend != nil {
		bend(p)
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return Armor(SignPacket(key, b))
}

// Login proofs as clients make them are taken; those for another key, host, kind
// or time are not.
func TestLoginProof(t *testing.T) {
	now := time.Unix(1795290150, 0)
	p, err := OpenLoginProof(loginProof(now.Unix(), nil), now, time.Hour)
	if err != nil || p.Username != "Alice" || p.Session != "c2Vzc2lvbg==" || p.KID != KIDOfPrivate(testKey("password")) {
		t.Fatalf("%+v %v", p, err)
	}
	at := func(path string, v any) func(map[string]any) {
		return func(m map[string]any) {
			keys := strings.Split(path, ".")
			for _, k := range keys[:len(keys)-1] {
				m = m[k].(map[string]any)
			}
			if m[keys[len(keys)-1]] = v; v == nil {
				delete(m, keys[len(keys)-1])
			}
		}
	}
	for _, c := range []struct {
		path string
		v    any
	}{
		{"tag", "other"}, {"body.type", "signature"}, {"body.version", 2}, {"body.key.host", "example.org"},
		{"body.key.kid", KIDOfPrivate(testKey("x")).String()}, {"body.key.username", nil}, {"body.key.email", "a@b.c"},
		{"body.auth.nonce", "short"}, {"body.auth.session", nil}, {"expire_in", 0}, {"expire_in", 1 << 30},
		{"ctime", now.Unix() + 7200}, {"ctime", now.Unix() - 100000}, {"extra", 1}, {"body.extra", 1},
	} {
		if _, err := OpenLoginProof(loginProof(now.Unix(), at(c.path, c.v)), now, time.Hour); !errors.Is(err, ErrLoginProof) {
			t.Errorf("%s = %v: %v", c.path, c.v, err)
		}
	}
}

func deviceEK(bend func(string) string) string {
	s := `{"current_device_ek_metadata":{"device_ephemeral_dh_public":"` + boxKID("ek").String() +
		`","hash_meta":"` + strings.Repeat("ab", 32) + `","generation":1,"ctime":1795289829000,"deviceCtime":0}}`
	if bend != nil {
		s = bend(s)
	}
	return Armor(SignPacket(testKey("device"), []byte(s)))
}

// Ephemeral key statements are taken in the one form clients sign.
func TestEphemeralStatements(t *testing.T) {
	ek, err := OpenDeviceEK(deviceEK(nil))
	if err != nil || ek.KID != boxKID("ek") || ek.Generation != 1 || ek.CtimeMs != 1795289829000 || ek.Signer != KIDOfPrivate(testKey("device")) {
		t.Fatalf("%+v %v", ek, err)
	}
	user := func(s string) string {
		s = strings.ReplaceAll(s, "current_device_ek_metadata", "current_user_ek_metadata")
		s = strings.ReplaceAll(s, "device_ephemeral_dh_public", "user_ephemeral_dh_public")
		return strings.ReplaceAll(s, `,"deviceCtime":0`, "")
	}
	if _, err := OpenUserEK(deviceEK(user)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{`"generation":1`, `"generation":0`}, {`"generation":1`, `"Generation":1`}, {`"generation":1,`, ``},
		{`"deviceCtime":0`, `"deviceCtime":0,"x":1`}, {`"ctime":1795289829000`, `"ctime":"1"`}, {`:{`, `: {`},
		{boxKID("ek").String(), KIDOfPrivate(testKey("device")).String()}, {`{"current`, `{"a":1,"current`},
	} {
		bad := deviceEK(func(s string) string { return strings.Replace(s, c[0], c[1], 1) })
		if _, err := OpenDeviceEK(bad); !errors.Is(err, ErrEphemeral) {
			t.Errorf("%s -> %s: %v", c[0], c[1], err)
		}
	}
	if _, err := OpenUserEK(deviceEK(nil)); err == nil {
		t.Error("device statement for a user's")
	}
}
