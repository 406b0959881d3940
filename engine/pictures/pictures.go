// Package pictures turns an image that somebody sends into the pictures that people
// see of them: square, upright, in the sizes that clients ask for, encoded anew so that
// nothing of the file but what it shows is left (no place, no camera, no second image).
//
// It promises that an image costs no more memory than its declared size allows, which
// is looked at before a pixel is decoded, and that the same bytes give the same
// pictures. It keeps nothing; engine/people stores what it makes.
//
// client: go/avatars/utils.go:AllFormats, go/avatars/upload.go:UploadImage
package pictures

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"github.com/keystead/keystead/engine/limits"
)

// Limits of an image.
const (
	// UploadBytesMax bounds the file. client: go/avatars/upload.go:UploadImage
	UploadBytesMax = 20 << 20
	// decodedBytesMax bounds the memory that decoding one image may take.
	decodedBytesMax = 256 << 20
	// sideMax bounds width and height, in pixels.
	sideMax = 20000
	// sideMin is the least side of what is left after cropping, in pixels.
	sideMin = 1
	// jpegQuality is that of the pictures made, of 100.
	jpegQuality = 88
)

// Sizes are the sides, in pixels, of the pictures that are made of every image, largest
// first. client: go/avatars/utils.go:AllFormats
var Sizes = []uint16{960, 360, 256, 200, 192, 40}

// ContentType is that of every picture.
const ContentType = "image/jpeg"

// What is wrong with an image.
var (
	ErrFormat = errors.New("this is not a PNG, JPEG, GIF or WebP image")
	ErrTooBig = errors.New("the image has too many pixels")
	ErrCrop   = errors.New("the part that was chosen does not lie inside the image")
	ErrBroken = errors.New("the image is damaged")
	// ErrAnimated: of a GIF the first frame is shown; the decoder knows none of these.
	ErrAnimated = errors.New("this is an animated WebP image; please send one that stands still")
)

// LimitRows are the limits of this package, for `keystead limits`.
func LimitRows() []limits.Row {
	return []limits.Row{
		limits.Bytes("UploadBytesMax", UploadBytesMax, "of an image that somebody sends"),
		limits.Bytes("decodedBytesMax", decodedBytesMax, "of memory to decode one image; one that needs more is refused by its header"),
		limits.Count("sideMax", sideMax, "pixels", "on a side of an image"),
		limits.Count("segmentsMax", segmentsMax, "segments", "of a JPEG file that are looked at before its pixels"),
		limits.Count("entriesMax", entriesMax, "entries", "of a camera's notes that are looked at"),
		limits.Count("webpChunksMax", webpChunksMax, "parts", "of a WebP file"),
	}
}

// Crop is the part of an image that is to be shown, in pixels of the upright image, the
// lower right corner not included. client: go/protocol/keybase1/common.go:ImageCropRect
type Crop struct{ X0, Y0, X1, Y1 int }

// Picture is one size of a picture.
type Picture struct {
	Size uint16 // pixels on a side
	JPEG []byte
}

// header is what the beginning of a file says.
type header struct {
	width, height int
	// cost is the memory that decoding takes, in bytes; pixel is that of each pixel.
	cost, pixel int64

	decode func([]byte) (image.Image, error)
	// turn is how to bring the image upright, as EXIF numbers it.
	turn int
}

// Cost is the memory, in bytes, that Make will need for a file; the error says why it
// is refused. It decodes no pixel.
func Cost(file []byte) (int64, error) {
	h, err := look(file)
	return h.cost, err
}

// look reads the beginning of a file.
func look(file []byte) (h header, err error) {
	var c image.Config
	switch {
	case bytes.HasPrefix(file, []byte("\x89PNG\r\n\x1a\n")):
		c, err = png.DecodeConfig(bytes.NewReader(file))
		h.decode = func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }
	case bytes.HasPrefix(file, []byte("\xff\xd8")):
		c, err = jpeg.DecodeConfig(bytes.NewReader(file))
		h.decode = func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) }
		h.turn = orientation(file)
	case bytes.HasPrefix(file, []byte("GIF8")):
		c, err = gif.DecodeConfig(bytes.NewReader(file))
		h.decode = func(b []byte) (image.Image, error) { return firstFrame(b, c) }
	case isWebP(file):
		h, c, err = lookAtWebP(file)
	default:
		return h, ErrFormat
	}
	switch {
	case errors.Is(err, ErrAnimated):
		return h, err
	case err != nil:
		return h, fmt.Errorf("%w: %v", ErrBroken, err)
	case h.pixel == 0:
		h.pixel = pixelCost(file, c.ColorModel)
	}
	h.width, h.height = c.Width, c.Height
	if h.width < sideMin || h.height < sideMin {
		return h, fmt.Errorf("%w: it has no pixels", ErrBroken)
	}
	if h.width > sideMax || h.height > sideMax {
		return h, fmt.Errorf("%w: %d by %d, and at most %d on a side are taken", ErrTooBig, h.width, h.height, sideMax)
	}
	h.cost += int64(h.width) * int64(h.height) * h.pixel
	if h.cost > decodedBytesMax {
		return h, fmt.Errorf("%w: %d by %d; please send a smaller one", ErrTooBig, h.width, h.height)
	}
	return h, nil
}

// pixelCost is how many bytes the decoder needs for a pixel.
func pixelCost(file []byte, m color.Model) int64 {
	if bytes.HasPrefix(file, []byte("\xff\xd8")) {
		if progressive(file) {
			return 16 // the decoder keeps a coefficient of 4 bytes for each component
		}
		return 4
	}
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	if _, ok := m.(color.Palette); ok {
		return 1
	}
	return 4
}

// firstFrame is a GIF's first frame where it stands on the GIF's canvas.
func firstFrame(file []byte, c image.Config) (image.Image, error) {
	m, err := gif.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return framed{m, image.Rect(0, 0, c.Width, c.Height)}, nil
}

// framed shows an image on a larger, transparent canvas.
type framed struct {
	image.Image
	bounds image.Rectangle
}

func (f framed) Bounds() image.Rectangle { return f.bounds }

func (f framed) At(x, y int) color.Color {
	if !(image.Point{x, y}).In(f.Image.Bounds()) {
		return color.Transparent
	}
	return f.Image.At(x, y)
}

// Make makes the pictures of a file, one for each of Sizes. Without a crop it shows the
// middle of the image.
func Make(file []byte, crop *Crop) ([]Picture, error) {
	h, err := look(file)
	if err != nil {
		return nil, err
	}
	m, err := h.decode(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrBroken, err)
	}
	if m.Bounds().Dx() != h.width || m.Bounds().Dy() != h.height {
		return nil, fmt.Errorf("%w: its size is not the one that it declares", ErrBroken)
	}
	up := upright{m, h.turn}
	part, err := choose(up.size(), crop)
	if err != nil {
		return nil, err
	}
	out := make([]Picture, 0, len(Sizes))
	var from *canvas
	for _, size := range Sizes {
		// Each size is made of the one before: the large image is read once.
		if from == nil {
			from = shrinkImage(up, part, int(size))
		} else {
			from = from.resize(int(size))
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, from.rgba(), &jpeg.Options{Quality: jpegQuality}); err != nil {
			return nil, fmt.Errorf("encode a picture of %d pixels: %w", size, err)
		}
		out = append(out, Picture{Size: size, JPEG: b.Bytes()})
	}
	return out, nil
}

// choose is the square to show: the middle of the crop, or of the image.
func choose(size image.Point, crop *Crop) (image.Rectangle, error) {
	r := image.Rect(0, 0, size.X, size.Y)
	if crop != nil {
		c := image.Rectangle{image.Pt(crop.X0, crop.Y0), image.Pt(crop.X1, crop.Y1)}
		if c.Min.X >= c.Max.X || c.Min.Y >= c.Max.Y || !c.In(r) {
			return r, ErrCrop
		}
		r = c
	}
	side := min(r.Dx(), r.Dy())
	at := r.Min.Add(image.Pt((r.Dx()-side)/2, (r.Dy()-side)/2))
	return image.Rectangle{at, at.Add(image.Pt(side, side))}, nil
}
