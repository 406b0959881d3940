package pictures

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"pgregory.net/rapid"
)

// quarters is an image whose four quarters are red, green, blue and white, clockwise
// from the upper left.
func quarters(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{255, 0, 0, 255}
			switch right, low := x >= w/2, y >= h/2; {
			case right && !low:
				c = color.NRGBA{0, 255, 0, 255}
			case right:
				c = color.NRGBA{0, 0, 255, 255}
			case low:
				c = color.NRGBA{255, 255, 255, 255}
			}
			m.SetNRGBA(x, y, c)
		}
	}
	return m
}

func asPNG(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(t testing.TB, m image.Image) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// turned puts an EXIF orientation into a JPEG file.
func turned(file []byte, turn byte) []byte {
	tiff := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	tiff[19] = turn
	body := append([]byte("Exif\x00\x00"), tiff...)
	seg := binary.BigEndian.AppendUint16([]byte{0xff, markApp1}, uint16(len(body)+2))
	return append(append(append([]byte{}, file[:2]...), append(seg, body...)...), file[2:]...)
}

// corners names the colours of a picture's quarters, clockwise from the upper left.
func corners(t testing.TB, p Picture) string {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(p.JPEG))
	if err != nil {
		t.Fatal(err)
	}
	n := int(p.Size)
	if m.Bounds() != image.Rect(0, 0, n, n) {
		t.Fatalf("a picture of %d is %v", n, m.Bounds())
	}
	var out string
	for _, at := range []image.Point{{n / 4, n / 4}, {3 * n / 4, n / 4}, {3 * n / 4, 3 * n / 4}, {n / 4, 3 * n / 4}} {
		r, g, b, _ := m.At(at.X, at.Y).RGBA()
		switch high := func(v uint32) bool { return v > 0xb000 }; {
		case high(r) && high(g) && high(b):
			out += "w"
		case high(r) && !high(g) && !high(b):
			out += "r"
		case high(g) && !high(r) && !high(b):
			out += "g"
		case high(b) && !high(r) && !high(g):
			out += "b"
		default:
			out += "?"
		}
	}
	return out
}

// TestEveryFormatInEverySize proves that an image of each format becomes upright, square
// pictures in all sizes, whatever its own size, with what it showed where it was.
func TestEveryFormatInEverySize(t *testing.T) {
	palette := image.NewPaletted(image.Rect(0, 0, 50, 50), color.Palette{
		color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 255, 0, 255}, color.NRGBA{0, 0, 255, 255}, color.NRGBA{255, 255, 255, 255},
	})
	q := quarters(50, 50)
	for y := range 50 {
		for x := range 50 {
			palette.Set(x, y, q.At(x, y))
		}
	}
	var asGIF bytes.Buffer
	if err := gif.Encode(&asGIF, palette, nil); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{
		"png": asPNG(t, quarters(1200, 1200)), "small png": asPNG(t, q), "jpeg": asJPEG(t, quarters(1000, 1000)),
		"gif": asGIF.Bytes(), "odd png": asPNG(t, quarters(363, 363)),
	} {
		ps, err := Make(file, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(ps) != len(Sizes) {
			t.Errorf("%s: %d pictures", name, len(ps))
		}
		for i, p := range ps {
			if got := corners(t, p); p.Size != Sizes[i] || got != "rgbw" {
				t.Errorf("%s: the picture of %d shows %s", name, p.Size, got)
			}
		}
	}
}

// TestTransparentIsWhite proves that what cannot be seen of an image is white.
func TestTransparentIsWhite(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 30, 30)) // black, and transparent
	ps, err := Make(asPNG(t, m), nil)
	if err != nil || corners(t, ps[5]) != "wwww" {
		t.Fatalf("%v, %s", err, corners(t, ps[5]))
	}
}

// TestTurnedAsTheCameraWasHeld proves that each EXIF orientation is undone, and that
// the crop counts in the upright image.
func TestTurnedAsTheCameraWasHeld(t *testing.T) {
	plain := asJPEG(t, quarters(64, 64))
	for turn, want := range map[byte]string{0: "rgbw", 1: "rgbw", 2: "grwb", 3: "bwrg", 4: "wbgr", 5: "rwbg", 6: "wrgb", 7: "bgrw", 8: "gbwr", 9: "rgbw"} {
		ps, err := Make(turned(plain, turn), nil)
		if err != nil {
			t.Fatalf("turn %d: %v", turn, err)
		}
		if got := corners(t, ps[4]); got != want {
			t.Errorf("turn %d shows %s, not %s", turn, got, want)
		}
	}
	wide := turned(asJPEG(t, quarters(64, 128)), 6) // upright it is 128 wide
	if _, err := Make(wide, &Crop{64, 0, 128, 64}); err != nil {
		t.Errorf("a crop of the upright image: %v", err)
	}
	if _, err := Make(wide, &Crop{0, 64, 64, 128}); !errors.Is(err, ErrCrop) {
		t.Errorf("a crop of the lying image: %v", err)
	}
}

// TestCrop proves that the chosen part is shown, and that one outside is refused.
func TestCrop(t *testing.T) {
	file := asPNG(t, quarters(100, 100))
	ps, err := Make(file, &Crop{50, 0, 100, 50})
	if err != nil || corners(t, ps[5]) != "gggg" {
		t.Fatalf("%v", err)
	}
	for _, c := range []Crop{{0, 0, 101, 50}, {-1, 0, 10, 10}, {10, 10, 10, 20}, {20, 10, 10, 20}, {0, 0, 1 << 40, 10}, {0, 0, 0, 0}} {
		if _, err := Make(file, &c); !errors.Is(err, ErrCrop) {
			t.Errorf("crop %v: %v", c, err)
		}
	}
}

// TestNothingElseIsLeft proves that what a file carries besides its pixels is not in the
// pictures.
func TestNothingElseIsLeft(t *testing.T) {
	secret := []byte("48.8583 N 2.2945 E")
	seg := binary.BigEndian.AppendUint16([]byte{0xff, 0xfe}, uint16(len(secret)+2))
	plain := asJPEG(t, quarters(64, 64))
	file := append(append(append([]byte{}, plain[:2]...), append(seg, secret...)...), plain[2:]...)
	ps, err := Make(append(file, secret...), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if bytes.Contains(p.JPEG, secret) {
			t.Errorf("the picture of %d tells where it was taken", p.Size)
		}
	}
}

// pngOf is a PNG file that declares a size and has no pixels.
func pngOf(w, h uint32, depth, kind byte) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), w), h)
	head = append(head, depth, kind, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	b = append(b, head...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(head))
}

// TestBombsAreRefusedByTheirHeader proves that a small file that declares a huge image
// is refused without the memory for it.
func TestBombsAreRefusedByTheirHeader(t *testing.T) {
	for name, file := range map[string][]byte{
		"wide":   pngOf(1<<31-1, 1, 8, 2),
		"large":  pngOf(20000, 20000, 8, 6),
		"deep":   pngOf(10000, 10000, 16, 6),
		"gif":    []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02"),
		"pixels": pngOf(0, 5, 8, 2),
	} {
		allocated := testing.AllocsPerRun(1, func() {
			if _, err := Make(file, nil); err == nil {
				t.Errorf("%s: taken", name)
			}
		})
		if allocated > 1000 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
	if _, err := Make(nil, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("nothing: %v", err)
	}
}

// TestSharesAddUp proves that in every scaling each pixel counts once.
func TestSharesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(1, 300).Draw(t, "from")
		to := rapid.IntRange(1, from).Draw(t, "to")
		sums := make([]float64, to)
		for i, two := range shares(from, to) {
			var whole float64
			for _, s := range two {
				if s.to < 0 || s.to >= to || s.weight < 0 {
					t.Fatalf("pixel %d of %d falls on %d of %d", i, from, s.to, to)
				}
				sums[s.to] += float64(s.weight)
				whole += float64(s.weight)
			}
			if whole < 0.999 || whole > 1.001 {
				t.Fatalf("pixel %d counts %v times", i, whole)
			}
		}
		for i, s := range sums {
			if want := float64(from) / float64(to); s < want*0.999 || s > want*1.001 {
				t.Fatalf("small pixel %d is made of %v pixels, not %v", i, s, want)
			}
		}
	})
}

// FuzzMake: whatever is sent becomes pictures or a named error, within the memory that
// the header allows.
func FuzzMake(f *testing.F) {
	f.Add(asPNG(f, quarters(8, 8)), 0, 0, 8, 8)
	f.Add(turned(asJPEG(f, quarters(8, 8)), 6), 1, 1, 5, 5)
	f.Add([]byte("GIF89a\x02\x00\x02\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x02D\n\x00;"), 0, 0, 1, 1)
	for _, name := range []string{"lossy", "lossless", "alpha", "animated"} {
		f.Add(webpFile(f, name), 0, 0, 8, 8)
	}
	f.Fuzz(func(t *testing.T, file []byte, x0, y0, x1, y1 int) {
		if h, err := look(file); err == nil && h.width*h.height > 1<<20 {
			return // right, but slow
		}
		ps, err := Make(file, &Crop{x0, y0, x1, y1})
		if err == nil && len(ps) != len(Sizes) {
			t.Fatalf("%d pictures", len(ps))
		}
		for _, known := range []error{nil, ErrFormat, ErrTooBig, ErrCrop, ErrBroken, ErrAnimated} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatalf("an error without a name: %v", err)
	})
}
