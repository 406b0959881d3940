package hash

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	miniosha "github.com/minio/sha256-simd"
	"pgregory.net/rapid"
)

// Every implementation in the tables, whether picked or not, agrees with the
// standard library on messages of all block alignments, in batches of any size.
func TestImplementationsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "messages")
		msgs := make([][]byte, n)
		for i := range msgs {
			size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(2000, 2400)).Draw(t, "size")
			msgs[i] = bytes.Repeat([]byte{byte(i), byte(size), 0x80}, size/3+1)[:size]
		}
		for _, b := range batches256 {
			if !b.usable() {
				continue
			}
			dst := make([][Size256]byte, n)
			b.many(dst, msgs)
			for i, m := range msgs {
				if dst[i] != sha256.Sum256(m) || dst[i] != miniosha.Sum256(m) {
					t.Fatalf("%s differs on message %d of %d bytes", b.name, i, len(m))
				}
			}
		}
		for _, b := range batches512 {
			if !b.usable() {
				continue
			}
			dst := make([][Size512]byte, n)
			b.many(dst, msgs)
			for i, m := range msgs {
				if dst[i] != sha512.Sum512(m) {
					t.Fatalf("%s differs on message %d of %d bytes", b.name, i, len(m))
				}
			}
		}
	})
}

// The functions are the ones they claim to be: published vectors of "abc".
func TestVectors(t *testing.T) {
	type named [Size512]byte
	abc := []byte("abc")
	var many [1]named
	Sum512Many(many[:], [][]byte{abc})
	var many256 [1][Size256]byte
	Sum256Many(many256[:], [][]byte{abc})
	s256, s512, check := Sum256(abc), Sum512(abc), Checksum(abc)
	running := New256()
	running.Write(abc[:1])
	running.Write(abc[1:])
	for _, c := range []struct{ got, want string }{
		{hex.EncodeToString(s256[:]), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{hex.EncodeToString(many256[0][:]), hex.EncodeToString(s256[:])},
		{hex.EncodeToString(running.Sum(nil)), hex.EncodeToString(s256[:])},
		{hex.EncodeToString(s512[:]), "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		{hex.EncodeToString(many[0][:]), hex.EncodeToString(s512[:])},
		{hex.EncodeToString(check[:]), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if a, b := Picked(); a == "" || b == "" {
		t.Error("an implementation without a name")
	}
}

// PutHex is encoding/hex, and writes nothing behind its digits.
func TestPutHex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "src")
		dst := bytes.Repeat([]byte{'!'}, 2*len(src)+40)
		PutHex(dst[:2*len(src)+1], src)
		if want := hex.EncodeToString(src) + strings.Repeat("!", 40); string(dst) != want {
			t.Fatalf("%s of %x", dst, src)
		}
	})
}

func BenchmarkPutHex(b *testing.B) {
	src, dst := make([]byte, 64), make([]byte, 128)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			PutHex(dst, src)
		}
	})
	b.Run("encoding/hex", func(b *testing.B) {
		for b.Loop() {
			hex.Encode(dst, src)
		}
	})
}

func BenchmarkSum512Many(b *testing.B) {
	for _, size := range []int{286, 2178} {
		msgs := make([][]byte, 256)
		for i := range msgs {
			msgs[i] = bytes.Repeat([]byte{byte(i)}, size)
		}
		dst := make([][Size512]byte, len(msgs))
		for _, impl := range batches512 {
			if !impl.usable() {
				continue
			}
			b.Run(fmt.Sprintf("%s/%dB", impl.name, size), func(b *testing.B) {
				b.SetBytes(int64(size * len(msgs)))
				// The best of all runs is what the code costs; the mean is what the
				// machine's other users cost.
				best := time.Duration(1 << 62)
				for b.Loop() {
					start := time.Now()
					impl.many(dst, msgs)
					best = min(best, time.Since(start))
				}
				b.ReportMetric(float64(best.Nanoseconds())/float64(len(msgs)), "best-ns/msg")
			})
		}
	}
}
