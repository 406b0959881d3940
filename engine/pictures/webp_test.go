package pictures

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// webpFiles stand in testdata. All show what quarters shows, 64 by 48 pixels: with loss,
// without, with transparency packed and plain, with an EXIF orientation of 6, and in two
// frames. cwebp, webpmux and img2webp of libwebp made them.
var webpFiles = []string{"lossy", "lossless", "alpha", "rawalpha", "turned", "animated"}

func webpFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".webp"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWebP proves that WebP images of every coding become pictures, upright; that an
// animated one is refused as such; and that a cut one is refused, wherever it is cut.
func TestWebP(t *testing.T) {
	for _, name := range webpFiles {
		file := webpFile(t, name)
		ps, err := Make(file, nil)
		if name == "animated" {
			if !errors.Is(err, ErrAnimated) {
				t.Errorf("animated: %v", err)
			}
			continue
		}
		want := map[bool]string{false: "rgbw", true: "wrgb"}[name == "turned"]
		if err != nil || len(ps) != len(Sizes) || corners(t, ps[0]) != want || corners(t, ps[5]) != want {
			t.Errorf("%s: %v", name, err)
		}
		if name == "turned" {
			continue // what is cut is the orientation
		}
		for n := 0; n < len(file)-2; n += 1 + len(file)/200 {
			if ps, err := Make(file[:n], nil); err == nil || !errors.Is(err, ErrBroken) && !errors.Is(err, ErrFormat) {
				t.Errorf("%s: %d of %d bytes: %d pictures, %v", name, n, len(file), len(ps), err)
			}
		}
	}
}

// chunk is one part of a WebP file.
func chunk(kind string, body []byte) []byte {
	out := binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(body)))
	if out = append(out, body...); len(body)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

func webpOf(chunks ...[]byte) []byte {
	body := append([]byte("WEBP"), bytes.Join(chunks, nil)...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// TestWebPBombs proves that a WebP file is refused by its header if its pixels or its codes
// may take too much memory, or if it has too many parts, and that an honest one with a
// size that phones make is not.
func TestWebPBombs(t *testing.T) {
	extended := func(w, h uint32, flags byte) []byte {
		b := append([]byte{flags, 0, 0, 0}, binary.LittleEndian.AppendUint32(nil, w-1)[:3]...)
		return chunk("VP8X", append(b, binary.LittleEndian.AppendUint32(nil, h-1)[:3]...))
	}
	lossless := func(w, h, bytes int) []byte { // without its pixels
		b := make([]byte, max(bytes, 5))
		b[0] = 0x2f
		binary.LittleEndian.PutUint32(b[1:], uint32(w-1)|uint32(h-1)<<14)
		return chunk("VP8L", b)
	}
	const mega = 1 << 20
	many := make([][]byte, webpChunksMax+1)
	for i := range many {
		many[i] = chunk("none", nil)
	}
	for name, tc := range map[string]struct {
		file []byte
		want error // nil: it is not refused by its header
	}{
		"wide":                   {webpOf(extended(30000, 10, 0)), ErrTooBig},
		"large":                  {webpOf(extended(10000, 10000, 0)), ErrTooBig},
		"large without loss":     {webpOf(lossless(8000, 8000, 0)), ErrTooBig},
		"with a heap of codes":   {webpOf(lossless(4000, 4000, mega)), ErrTooBig},
		"the same, small":        {webpOf(lossless(1000, 1000, mega)), nil},
		"transparent":            {webpOf(extended(5000, 4000, 16), chunk("ALPH", make([]byte, mega))), ErrTooBig},
		"of a phone":             {webpOf(extended(8000, 6000, 0)), nil},
		"of a phone, lossless":   {webpOf(lossless(4000, 3000, 400<<10)), nil},
		"of too many parts":      {webpOf(append(many, extended(10, 10, 0))...), ErrBroken},
		"animated by its flags":  {webpOf(extended(10, 10, 2)), ErrAnimated},
		"animated by its frames": {webpOf(extended(10, 10, 0), chunk("ANMF", nil)), ErrAnimated},
		"a header alone":         {[]byte("RIFF....WEBP"), ErrBroken},
		"a part without its end": {[]byte("RIFF....WEBPVP8 "), ErrBroken},
		"another RIFF":           {[]byte("RIFF....WAVEfmt "), ErrFormat},
	} {
		cost, err := Cost(tc.file)
		if !errors.Is(err, tc.want) || tc.want == nil && cost > decodedBytesMax {
			t.Errorf("%s: %d bytes, %v", name, cost, err)
		}
		if _, err := Make(tc.file, nil); err == nil {
			t.Errorf("%s: pictures of an image without pixels", name)
		}
	}
}
