package rpc

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/keybase/msgpackzip"

	"github.com/keystead/keystead/compat/wire/gregor1"
)

// allocatedMax is what n bytes from outside may make the server allocate.
func allocatedMax(n int) uint64 { return 64*uint64(n) + 1<<20 }

// allocated measures what fn allocates, in bytes.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// readOne reads a frame from b as a connection before authentication does, and when
// it is a call whose method has a handler decodes its argument.
func readOne(b []byte, routes map[string]route, most int) error {
	r := bufio.NewReaderSize(bytes.NewReader(b), readStep)
	n, err := readLength(r, func() {})
	if err != nil {
		return err
	}
	if n > int64(most) {
		return errFrame
	}
	bud := &budget{max: 64 << 20}
	body, err := readBody(r, int(n), bud)
	if err != nil {
		if bud.used.Load() != 0 {
			return errors.New("an unread frame kept its bytes")
		}
		return err
	}
	f, err := parseFrame(body)
	if err != nil {
		return err
	}
	rt, ok := routes[f.method]
	if !ok || rt.handle == nil {
		return nil
	}
	_, err = f.argument(rt.class)
	return err
}

func seedFrames() [][]byte {
	frame := func(elements ...any) []byte {
		c := pack(elements)
		return append(pack(len(c)), c...)
	}
	update := map[string]any{"m": creationMessage("1", "a", "x")}
	sync := []any{syncAllArg("alice", 1)}
	seeds := [][]byte{
		frame(0, 0, "gregor.1.incoming.ping", []any{map[string]any{}}),
		frame(0, 1, "gregor.1.incoming.ping", []any{map[string]any{}}, map[string]any{"LOG": "x"}),
		frame(1, 0, nil, nil),
		frame(2, "gregor.1.incoming.ping", []any{map[string]any{}}),
		frame(3, 7, "gregor.1.incoming.state"),
		frame(4, 2, 1, "gregor.1.incoming.consumeMessage", gzipBytes(pack([]any{update}))),
		frame(4, 3, 2, "chat.1.remote.syncAll", zipBytes(pack(sync))),
		frame(4, 4, 0, "gregor.1.incoming.state", []any{gregor1.StateArg{UID: []byte("u")}}),
		frame(4, 5, 1, "gregor.1.incoming.state", []byte{}),
	}
	for _, b := range bombs() {
		seeds = append(seeds, b)
	}
	return seeds
}

// FuzzFrame proves that no bytes on a socket panic the reader, and that what they
// make it allocate is bounded by their number.
func FuzzFrame(f *testing.F) {
	for _, b := range seedFrames() {
		f.Add(b)
	}
	rs := routes()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, most := range []int{64 << 10, 16 << 20} {
			if n := allocated(func() { _ = readOne(b, rs, most) }); n > allocatedMax(len(b)) {
				t.Errorf("%d bytes allocated for %d", n, len(b))
			}
		}
	})
}

// FuzzArguments proves the same for the arguments of every method that has a
// handler, compressed or not, decoded into the types that the handlers take.
func FuzzArguments(f *testing.F) {
	for i, b := range [][]byte{
		pack([]any{map[string]any{"m": creationMessage("1", "a", "x")}}),
		pack([]any{syncAllArg("alice", 1)}),
		pack([]any{map[string]any{"uids": [][]byte{[]byte("u"), []byte("v")}}}),
		pack([]any{gregor1.StateByCategoryPrefixArg{CategoryPrefix: "team"}}),
		nest(depthMax+2, 0x91), nest(1000, 0x91), {0x91, 0xdd, 0x80, 0, 0, 0}, {0x91, 0xdf, 0x7f, 0xff, 0xff, 0xff},
		append([]byte{0x91, 0x81, 0xa1, 'm', 0xdc, 0x0f, 0xff}, bytes.Repeat([]byte{0x80}, 4095)...),
		emptyRanges(4000),
	} {
		f.Add(uint8(i%3), b)
		f.Add(uint8(1), b)
	}
	rs := routes()
	f.Fuzz(func(t *testing.T, ctype uint8, b []byte) {
		c := compression(ctype % 3)
		in := b
		switch c {
		case compressGzip:
			in = append(appendBinHead(nil, len(gzipBytes(b))), gzipBytes(b)...)
		case compressMsgpackzip:
			z, err := msgpackzip.Compress(b)
			if err != nil {
				return
			}
			in = append(appendBinHead(nil, len(z)), z...)
		}
		for name, rt := range rs {
			if rt.handle == nil {
				continue
			}
			var err error
			n := allocated(func() {
				var arg []byte
				if arg, err = (&frame{ctype: c, rest: in}).argument(rt.class); err == nil {
					err = decodeOnly(rt, arg)
				}
			})
			if n > allocatedMax(len(in)) {
				t.Errorf("%s: %d bytes allocated for %d, %d before compression (%v)", name, n, len(in), len(b), err)
			}
		}
	})
}

// decodeOnly runs a handler's decoder: the handler itself finds no connection and
// panics, which is as good as a return here.
func decodeOnly(rt route, arg []byte) (err error) {
	defer func() { _ = recover() }()
	_, err = rt.handle(context.Background(), nil, arg)
	return err
}

// FuzzUnzip proves that our reader of msgpackzip gives what the library gives, or
// refuses, and never more than its limit.
func FuzzUnzip(f *testing.F) {
	for _, b := range seedFrames() {
		f.Add(b)
		if z, err := msgpackzip.Compress(b); err == nil {
			f.Add(z)
		}
	}
	for _, v := range zipSamples() {
		f.Add(zipBytes(pack(v)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 4 << 10
		got, err := unzipMsgpack(b, most)
		if err != nil {
			return
		}
		if len(got) > most {
			t.Fatalf("%d bytes, %d are allowed", len(got), most)
		}
		want, err := msgpackzip.InflateWithLimit(b, most)
		if err == nil && spelled(t, got) != spelled(t, want) {
			t.Fatalf("the library reads %x, we read %x", want, got)
		}
	})
}

// spelled writes a document's values one after the other, whatever width their heads
// have: keys are copied as they come by us and re-encoded by the library.
func spelled(t *testing.T, doc []byte) string {
	var out strings.Builder
	for w := (walker{buf: doc}); w.off < len(doc); {
		start, c := w.off, doc[w.off]
		if n, err := w.arrayLen(); err == nil {
			fmt.Fprintf(&out, "array %d;", n)
		} else if n, err := w.mapLen(); err == nil {
			fmt.Fprintf(&out, "map %d;", n)
		} else if i, err := w.integer(); err == nil {
			fmt.Fprintf(&out, "%d;", i)
		} else if b, err := w.text(); err == nil {
			fmt.Fprintf(&out, "bin %v %x;", c >= 0xc4 && c <= 0xc6, b)
		} else {
			w.off, w.values = start, 1
			b, err := w.value(0)
			if err != nil {
				t.Fatalf("%x: %v", doc, err)
			}
			fmt.Fprintf(&out, "%x;", b)
		}
	}
	return out.String()
}

// zipSamples are documents whose compressed forms use all the means of msgpackzip.
func zipSamples() []any {
	many := make(map[string]int)
	for i := range 400 {
		many[string(rune('a'+i%26))+string(rune('0'+i))] = i
	}
	return []any{
		nil, 1, "text", []byte{1, 2}, map[string]any{}, []any{},
		map[string]any{"a": "a", "b": []any{"a", "b", map[string]any{"a": nil}}},
		map[int]string{1: "x", 70000: "y"},
		map[string]any{"f": 1.5, "t": true, "n": -70000, "long": string(bytes.Repeat([]byte("x"), 70000))},
		many,
		syncAllArg("alice", 3),
	}
}

// Our reader of msgpackzip reads what clients write.
func TestUnzipSamples(t *testing.T) {
	for _, v := range zipSamples() {
		plain := pack(v)
		got, err := unzipMsgpack(zipBytes(plain), 1<<20)
		if err != nil {
			t.Errorf("%.40v: %v", v, err)
			continue
		}
		want, err := msgpackzip.Inflate(zipBytes(plain))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%.40v: got %d bytes, the library %d, %v", v, len(got), len(want), err)
		}
	}
}

// What we write as msgpackzip, the library of clients reads back to the same bytes.
func TestZipSamples(t *testing.T) {
	for _, v := range zipSamples() {
		plain := pack(v)
		z, err := zipMsgpack(plain)
		if err != nil {
			t.Errorf("%.40v: %v", v, err)
			continue
		}
		back, err := msgpackzip.Inflate(z)
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%.40v: %d bytes come back as %d, %v", v, len(plain), len(back), err)
		}
	}
}

// What we compress, the libraries of clients read, down to the nil of an error.
func TestDeflate(t *testing.T) {
	for _, n := range []int{1, storedBytesMax, storedBytesMax + 1, 100_000} {
		plain := pack(bytes.Repeat([]byte{7}, n))
		for _, c := range []compression{compressGzip, compressMsgpackzip} {
			for _, in := range [][]byte{plain, nilValue} {
				out, err := c.deflate(in)
				if err != nil || len(out) == 0 {
					t.Fatalf("compression %d of %d bytes: %d bytes, %v", c, len(in), len(out), err)
				}
				back, err := plainResult(int(c), pack(out))
				if err != nil || !bytes.Equal(back, in) {
					t.Errorf("compression %d of %d bytes comes back as %d, %v", c, len(in), len(back), err)
				}
			}
		}
	}
}

func creationMessage(id, category, body string) gregor1.Message {
	return gregor1.Message{InBand: &gregor1.InBandMessage{StateUpdate: &gregor1.StateUpdateMessage{
		Metadata: gregor1.Metadata{MsgID: []byte(id), InBandMsgType: 1},
		Creation: &gregor1.Item{Category: category, Body: []byte(body)},
	}}}
}

// nest is n containers in each other.
func nest(n int, head byte) []byte { return append(bytes.Repeat([]byte{head}, n), 0xc0) }

// emptyRanges is a consumeMessage whose dismissal has n ranges of one byte each: the
// most memory that bytes can turn into here.
func emptyRanges(n int) []byte {
	ranges := append([]byte{0xdc, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{0x80}, n)...)
	b := []byte{0x91, 0x81, 0xa1, 'm', 0x81, 0xa3, 'i', 'b', 'm', 0x81, 0xab}
	b = append(b, "stateUpdate"...)
	b = append(append(b, 0x81, 0xa9), "dismissal"...)
	return append(append(append(b, 0x81, 0xa6), "ranges"...), ranges...)
}

// bombs are frames that promise or unfold to far more than they are.
var bombs = sync.OnceValue(func() map[string][]byte {
	call := func(ctype int, arg []byte) []byte {
		head := append(pack([]any{4, 0, ctype, "chat.1.remote.syncAll"}), arg...)
		head[0] = 0x95
		return append(pack(len(head)), head...)
	}
	bin := func(b []byte) []byte { return pack(b) }
	zeros := bytes.Repeat([]byte{0x80}, 8_000_000)
	var deflated bytes.Buffer
	z, _ := flate.NewWriter(&deflated, flate.BestCompression)
	io.Copy(z, bytes.NewReader(zeros))
	z.Close()
	longKey := pack(map[int]string{0: string(bytes.Repeat([]byte("k"), 30_000))})
	var keys bytes.Buffer
	z, _ = flate.NewWriter(&keys, flate.BestCompression)
	z.Write(longKey)
	z.Close()
	references := append([]byte{0xdc, 0x40, 0}, bytes.Repeat([]byte{0xd4, 0}, 0x4000)...)
	plain := func(arg []byte) []byte {
		head := append(pack([]any{0, 0, "gregor.1.incoming.ping"}), arg...)
		head[0] = 0x94
		return append(pack(len(head)), head...)
	}
	return map[string][]byte{
		"length of 2 GiB":                  {0xce, 0x7f, 0xff, 0xff, 0xff, 0x94},
		"length of 2^63":                   {0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x94},
		"negative length":                  {0xd0, 0x80},
		"zero length":                      {0x00},
		"length that is text":              {0xa1, 'x'},
		"array16":                          {0x04, 0xdc, 0, 1, 0},
		"kind 9":                           {0x03, 0x92, 9, 0},
		"too few elements":                 {0x03, 0x92, 0, 0},
		"method of 64 KiB":                 {0x09, 0x94, 0, 0, 0xda, 0xff, 0xff, 'x', 'x', 'x'},
		"gzip of 8 MB":                     call(1, bin(gzipBytes(zeros))),
		"msgpackzip with 8 MB of keys":     call(2, bin(pack([]any{1, []byte{0x80}, deflated.Bytes()}))),
		"msgpackzip with 480 MB of values": call(2, bin(pack([]any{1, references, keys.Bytes()}))),
		"array of 2^31":                    plain([]byte{0x91, 0xdd, 0x80, 0, 0, 0}),
		"map of 2^32-1":                    plain([]byte{0x91, 0xdf, 0xff, 0xff, 0xff, 0xff}),
		"text of 4 GiB":                    plain([]byte{0x91, 0xdb, 0xff, 0xff, 0xff, 0xff}),
		"nesting of 60 000":                plain(nest(60_000, 0x91)),
	}
})
