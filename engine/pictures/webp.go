package pictures

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"

	"golang.org/x/image/webp"
)

// What decoding a WebP file may take, as golang.org/x/image v0.47.0 does it.
const (
	// webpChunksMax bounds the parts of a file; real ones have fewer than ten.
	webpChunksMax = 100
	// A pixel costs one number of bytes coded as in a film, and another without loss or
	// with transparency, which is coded without loss: pixels, what they are predicted
	// from, and a copy.
	webpLossyPixel, webpLosslessPixel = 4, 8
	// Lossless images bring their own codes, up to 2,600 sets of five. A set costs at
	// least webpCodesLeast/2600 bytes, and webpCodesOfByte for each byte of the file that
	// describes it; the largest ones together make webpCodesMost.
	webpCodesLeast  = 8 << 20
	webpCodesOfByte = 256
	webpCodesMost   = 144 << 20
)

// webpParts is what the list of a WebP file's parts says.
type webpParts struct {
	animated bool
	lossless bool // also of the transparency alone
	turn     int  // as EXIF numbers it
}

// isWebP reports how a WebP file begins.
func isWebP(file []byte) bool {
	return len(file) >= 12 && string(file[:4]) == "RIFF" && string(file[8:12]) == "WEBP"
}

// partsOfWebP walks through the parts of a file. A part that is cut short counts: whether
// it is needed the decoder decides.
func partsOfWebP(file []byte) (p webpParts, err error) {
	rest := file[12:]
	for n := 0; len(rest) >= 8; n++ {
		if n == webpChunksMax {
			return p, errors.New("it has too many parts")
		}
		kind, length := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:]
		whole := body[:min(length, int64(len(body)))]
		switch kind {
		case "VP8X":
			p.animated = p.animated || len(whole) > 0 && whole[0]&2 != 0
		case "ANIM", "ANMF":
			p.animated = true
		case "VP8L", "ALPH":
			p.lossless = true
		case "EXIF":
			p.turn = tiffOrientation(bytes.TrimPrefix(whole, []byte("Exif\x00\x00")))
		}
		rest = body[min(length+length%2, int64(len(body))):]
	}
	return p, nil
}

// lookAtWebP reads the beginning of a WebP file and the list of its parts.
func lookAtWebP(file []byte) (h header, c image.Config, err error) {
	p, err := partsOfWebP(file)
	if err != nil {
		return h, c, err
	}
	if p.animated {
		return h, c, ErrAnimated
	}
	h.turn, h.pixel = p.turn, webpLossyPixel
	if p.lossless {
		h.pixel = webpLosslessPixel
		h.cost = min(webpCodesLeast+webpCodesOfByte*int64(len(file)), webpCodesMost)
	}
	h.decode = func(b []byte) (image.Image, error) { return webp.Decode(bytes.NewReader(b)) }
	c, err = webp.DecodeConfig(bytes.NewReader(file))
	return h, c, err
}
