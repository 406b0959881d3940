package sigchain

import (
	"bytes"
	"strings"
	"testing"
)

// Addresses are taken exactly when the stock client takes them, in the letters in which
// it signs them. client: go/libkb/cryptocurrency_test.go
func TestCurrencyAddresses(t *testing.T) {
	for address, want := range map[string]Currency{
		"zcCk6rKzynC4tT1Rmg325A5Xw81Ck3S6nD6mtPWCXaMtyFczkyU4kYjEhrcz2QKfF5T2siWGyJNxWo43XWT3qk5YpPhFGj2":  CurrencyZcashShield,
		"zcCk6rKzynC4tT1Rmg325A5Xw81Ck3S6nD6mtPWCXaMtyFczkyU4kYjEhrcz2QKfF5T2siWGyJNxWo43XWT3qk5YpPhFGj2x": "",
		"zcCk6rKzynC4tT1Rmg325A5Xw81Ck3S6nD6mtPWCXaMtyFczkyU4kYjEhrcz2QKfF5T2siWGyJNxWo43XWT3qk5YpPhFGj3":  "",
		"t1c3Ebc6FBbWuirNrjJ6HbS4KHLb6Dbh5xL":                                            CurrencyZcashClear,
		"t1c3Ebc6FBbWuirNrjJ6HbS4KHLb6Dbh5xLx":                                           "",
		"3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy":                                             CurrencyBitcoin,
		"4J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy":                                             "",
		"1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2":                                             CurrencyBitcoin,
		"13J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy":                                            "",
		"zs165czn4y5jfa552kux7yl3y5l8ge4cl6af45y9dh3yzfnkgd68vajyjdlkht54ve958qx693jjak": CurrencyZcashSapling,
		"zs1fw4tgx9gccv2f8af6ugu727slx7pq0nc46yflcuqyluruxtcmg20hxh3r4d9ec9yejj6gfrf2hd": "",
		"bc1qcerjvfmt8qr8xlp6pv4htjhwlj2wgdjnayc3cc":                                     CurrencyBitcoin,
		"bc1qc7slrfxkknqcq2jevvvkdgvrt8080852dfjewde450xdlk4ugp7szw5tk9":                 CurrencyBitcoin,
		"BC1QCERJVFMT8QR8XLP6PV4HTJHWLJ2WGDJNAYC3CC":                                     "",
		"bc11cerjvfmt8qr8xlp6pv4htjhwlj2wgdjnayc3cc":                                     "",
		"bc1": "", "bc1q": "", "": "", "1": "", "l": "", strings.Repeat("1", 200): "",
	} {
		got, err := CurrencyOf(address)
		if want == "" && err == nil || want != "" && (err != nil || got != want) {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}

// A Stellar account is read to the key it is named after, and no other spelling of it is.
func TestStellarAccounts(t *testing.T) {
	account := stellarAccount("W")
	kid, err := StellarKey(account)
	if err != nil || kid != signKID("W") {
		t.Fatalf("%s: %s, %v", account, kid, err)
	}
	// From the network's documentation: the public key is known there too.
	if _, err := StellarKey("GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", account[1:], account + "A", strings.ToLower(account), "S" + account[1:], account[:55] + "\n"} {
		if _, err := StellarKey(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for i := range account {
		c := byte('A')
		if account[i] == c {
			c = 'B'
		}
		if _, err := StellarKey(account[:i] + string(c) + account[i+1:]); err == nil {
			t.Errorf("character %d can change", i)
		}
	}
}

// A state that the first release wrote is read, as one without what came later.
func TestStateOfVersionOne(t *testing.T) {
	st := following(t).st
	b := st.Encode()
	later := &writer{}
	st.encodeStatements(later)
	st.encodeResets(later)
	later.uint(uint64(len(st.PGP)))
	old := bytes.Clone(b[:len(b)-len(later.b)])
	old[0] = 1
	again, err := DecodeState(old)
	if err != nil || !bytes.Equal(again.Encode(), b) {
		t.Fatal(err)
	}
}

// A device's word for another mail address is read and judged as the next link of its
// chain, and nothing that differs from it is.
func TestSettingsStatement(t *testing.T) {
	w := twoDevices(t)
	fresh := func(by string) *draft {
		return &draft{typ: "update_settings", by: by, v: 1, body: obj{"update_settings": obj{"email": "alice@example.org"}}}
	}
	judge := func(d *draft) error {
		p := w.sign(d, w.st.Tail+1, w.st.TailLink, w.st.Eldest)
		s, err := ParseSettingsStatement(p.Sig, signKID("A"))
		if err == nil {
			if s.Email != "alice@example.org" && d.edit == nil {
				t.Errorf("email %q", s.Email)
			}
			err = w.st.JudgeSettings(s, w)
		}
		return err
	}
	if err := judge(fresh("A")); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(obj){
		"seqno":   func(o obj) { o["seqno"] = 1; o["prev"] = nil },
		"prev":    func(o obj) { o["prev"] = strings.Repeat("ab", 32) },
		"type":    func(o obj) { o["body"].(obj)["type"] = "update_passphrase_hash" },
		"more":    func(o obj) { o["body"].(obj)["update_settings"].(obj)["name"] = "x" },
		"beside":  func(o obj) { o["more"] = 1 },
		"nothing": func(o obj) { delete(o["body"].(obj), "update_settings") },
		"long":    func(o obj) { o["body"].(obj)["update_settings"].(obj)["email"] = strings.Repeat("x", 300) },
		"user":    func(o obj) { o["body"].(obj)["key"].(obj)["username"] = "bob" },
	} {
		bent := fresh("A")
		bent.edit = edit
		if err := judge(bent); KindOf(err) == KindNone {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := judge(fresh("B")); KindOf(err) != KindWrongKey {
		t.Errorf("signed by another key than is said: %v", err)
	}
}
