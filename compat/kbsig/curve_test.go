package kbsig

import (
	"math/big"
	"slices"
	"testing"
)

var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

func little(x *big.Int) [32]byte {
	var b [32]byte
	x.FillBytes(b[:])
	slices.Reverse(b[:])
	return b
}

func fromLittle(b [32]byte) *big.Int {
	slices.Reverse(b[:])
	return new(big.Int).SetBytes(b[:])
}

func mod(x *big.Int) *big.Int { return x.Mod(x, prime) }

func inv(x *big.Int) *big.Int { return new(big.Int).ModInverse(x, prime) }

// double gives the y of twice a point on the Edwards curve with coordinate y:
// from -x^2+y^2 = 1+d x^2 y^2 and the doubling law, in y alone.
func double(y, d *big.Int) *big.Int {
	y2 := mod(new(big.Int).Mul(y, y))
	x2 := mod(new(big.Int).Mul(new(big.Int).Sub(y2, big.NewInt(1)), inv(mod(new(big.Int).Add(big.NewInt(1), new(big.Int).Mul(d, y2))))))
	num := mod(new(big.Int).Add(y2, x2))
	den := mod(new(big.Int).Sub(big.NewInt(1), mod(new(big.Int).Mul(d, new(big.Int).Mul(x2, y2)))))
	return mod(num.Mul(num, inv(den)))
}

// The table of small-order keys is right and complete: doubling each entry three
// times reaches the neutral element, and no other y does.
func TestSmallOrderTables(t *testing.T) {
	d := mod(new(big.Int).Mul(big.NewInt(-121665), inv(big.NewInt(121666))))
	for _, b := range smallOrderY {
		y := fromLittle(b)
		for i := 0; i < 3; i++ {
			y = double(y, d)
		}
		if y.Cmp(big.NewInt(1)) != 0 {
			t.Fatalf("%x is not of small order", b)
		}
	}
	// Order 8 has y with 2(x,y) of order 4, y(2P) = 0: y^2 + x^2 = 0, which the
	// curve turns into d y^4 + 2 y^2 - 1 = 0; its roots are both in the table.
	for _, b := range smallOrderY[3:] {
		y := fromLittle(b)
		y2 := mod(new(big.Int).Mul(y, y))
		v := new(big.Int).Mul(d, new(big.Int).Mul(y2, y2))
		v.Add(v, new(big.Int).Lsh(y2, 1)).Sub(v, big.NewInt(1))
		if mod(v).Sign() != 0 {
			t.Fatalf("%x is no y of order 8", b)
		}
	}
	sum := new(big.Int).Add(fromLittle(smallOrderY[3]), fromLittle(smallOrderY[4]))
	if sum.Cmp(prime) != 0 {
		t.Fatal("the y of order 8 are not each other's negatives")
	}
	// u = (1+y)/(1-y) carries the Edwards table to Curve25519.
	for _, b := range smallOrderY[3:] {
		y := fromLittle(b)
		u := mod(new(big.Int).Mul(new(big.Int).Add(big.NewInt(1), y), inv(mod(new(big.Int).Sub(big.NewInt(1), y)))))
		if !slices.Contains(smallOrderU, little(u)) {
			t.Fatalf("u %x is missing", little(u))
		}
	}
	if fromLittle(fieldPrime).Cmp(prime) != 0 {
		t.Fatal("prime")
	}
}

// Keys that are not reduced, of small order, or of the other kind are refused.
func TestKeyChecks(t *testing.T) {
	good := testKey("a")
	if err := CheckSigningKey(KIDOfPrivate(good)); err != nil {
		t.Fatal(err)
	}
	if err := CheckEncryptionKey(boxKID("a")); err != nil {
		t.Fatal(err)
	}
	var bad [][32]byte
	for _, y := range smallOrderY {
		neg := y
		neg[31] |= 0x80
		bad = append(bad, y, neg)
	}
	for i := int64(0); i < 19; i++ {
		bad = append(bad, little(new(big.Int).Add(prime, big.NewInt(i))))
	}
	for _, raw := range bad {
		if CheckSigningKey(NewKID(KIDTypeEdDSA, raw)) == nil {
			t.Errorf("signing key %x", raw)
		}
	}
	for _, raw := range append(bad[len(bad)-19:], smallOrderU...) {
		if CheckEncryptionKey(NewKID(KIDTypeDH, raw)) == nil {
			t.Errorf("encryption key %x", raw)
		}
	}
	if CheckSigningKey(boxKID("a")) == nil || CheckEncryptionKey(KIDOfPrivate(good)) == nil {
		t.Error("kinds are not told apart")
	}
}
