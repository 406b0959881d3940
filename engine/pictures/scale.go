package pictures

import (
	"image"
	"image/color"
)

// canvas is a square picture without transparency, red, green and blue as parts of 1
// and a row after the other. What was transparent is white.
type canvas struct {
	side int
	pix  []float32 // 3 for a pixel
}

// shrinkImage brings the square part of an image to a side of n pixels. Each pixel is
// the mean of those that it covers; of a smaller image it is the nearest one, between
// two of them a mixture.
func shrinkImage(m upright, part image.Rectangle, n int) *canvas {
	if part.Dx() < n {
		small := readPart(m, part, part.Dx())
		return small.resize(n)
	}
	return readPart(m, part, n)
}

// readPart reads each pixel of part once, and adds it to those of the n by n that it
// lies in. n is at most the side of part.
func readPart(m upright, part image.Rectangle, n int) *canvas {
	out := &canvas{side: n, pix: make([]float32, 3*n*n)}
	side := part.Dx()
	cols := shares(side, n)
	counted := make([]float32, n*n)
	rows := shares(side, n)
	for y := range side {
		for x := range side {
			r, g, b := m.at(part.Min.X+x, part.Min.Y+y)
			for _, sy := range rows[y] {
				for _, sx := range cols[x] {
					w := sy.weight * sx.weight
					if w == 0 {
						continue
					}
					i := sy.to*n + sx.to
					out.pix[3*i] += r * w
					out.pix[3*i+1] += g * w
					out.pix[3*i+2] += b * w
					counted[i] += w
				}
			}
		}
	}
	for i, w := range counted {
		out.pix[3*i] /= w
		out.pix[3*i+1] /= w
		out.pix[3*i+2] /= w
	}
	return out
}

// share is how much of a pixel falls on which pixel of the smaller picture.
type share struct {
	to     int
	weight float32
}

// shares are, for each of from pixels in a line, the at most two of to pixels that it
// falls on; to is at most from.
func shares(from, to int) [][2]share {
	out := make([][2]share, from)
	for i := range from {
		// In units of 1/from of a small pixel: this one is to wide, a small one from.
		lo, hi := i*to, (i+1)*to
		first := lo / from
		cut := min(hi, (first+1)*from)
		out[i][0] = share{first, float32(cut-lo) / float32(to)}
		if cut < hi {
			out[i][1] = share{first + 1, float32(hi-cut) / float32(to)}
		} else {
			out[i][1] = share{first, 0}
		}
	}
	return out
}

// resize makes a picture of side n of this one.
func (c *canvas) resize(n int) *canvas {
	switch {
	case n == c.side:
		return c
	case n > c.side:
		return c.grow(n)
	}
	out := &canvas{side: n, pix: make([]float32, 3*n*n)}
	cells := shares(c.side, n)
	whole := float32(n) / float32(c.side) // the weight of a whole pixel, in a line
	for y := range c.side {
		for x := range c.side {
			p := c.pix[3*(y*c.side+x):]
			for _, sy := range cells[y] {
				for _, sx := range cells[x] {
					w := sy.weight * sx.weight * whole * whole
					q := out.pix[3*(sy.to*n+sx.to):]
					q[0] += p[0] * w
					q[1] += p[1] * w
					q[2] += p[2] * w
				}
			}
		}
	}
	return out
}

// grow mixes the four nearest pixels.
func (c *canvas) grow(n int) *canvas {
	out := &canvas{side: n, pix: make([]float32, 3*n*n)}
	places := make([]place, n)
	for i := range places {
		places[i] = c.between(i, n)
	}
	for y, v := range places {
		top, low := c.pix[3*v.lo*c.side:], c.pix[3*v.hi*c.side:]
		for x, h := range places {
			q := out.pix[3*(y*n+x):]
			for k := range 3 {
				a := top[3*h.lo+k]*(1-h.part) + top[3*h.hi+k]*h.part
				b := low[3*h.lo+k]*(1-h.part) + low[3*h.hi+k]*h.part
				q[k] = a*(1-v.part) + b*v.part
			}
		}
	}
	return out
}

// place is which two pixels of a line something lies between, and how far.
type place struct {
	lo, hi int
	part   float32
}

// between is the place of the i-th of n pixels.
func (c *canvas) between(i, n int) place {
	at := (float32(i)+0.5)*float32(c.side)/float32(n) - 0.5
	if at <= 0 {
		return place{}
	}
	lo := min(int(at), c.side-1)
	return place{lo, min(lo+1, c.side-1), at - float32(lo)}
}

func (c *canvas) rgba() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, c.side, c.side))
	for i := range c.side * c.side {
		for k := range 3 {
			out.Pix[4*i+k] = uint8(max(0, min(255, c.pix[3*i+k]*255+0.5)))
		}
		out.Pix[4*i+3] = 255
	}
	return out
}

// upright is an image turned as its file says.
type upright struct {
	image.Image
	turn int // 1 to 8, as EXIF numbers them; 0 is 1
}

func (u upright) size() image.Point {
	if u.turn >= 5 {
		return image.Pt(u.Bounds().Dy(), u.Bounds().Dx())
	}
	return u.Bounds().Size()
}

// at is the colour at a place of the upright image, on white, in parts of 1.
func (u upright) at(x, y int) (r, g, b float32) {
	w, h := u.Bounds().Dx(), u.Bounds().Dy()
	switch u.turn {
	case 2:
		x = w - 1 - x
	case 3:
		x, y = w-1-x, h-1-y
	case 4:
		y = h - 1 - y
	case 5:
		x, y = y, x
	case 6:
		x, y = y, h-1-x
	case 7:
		x, y = w-1-y, h-1-x
	case 8:
		x, y = w-1-y, x
	}
	at := u.Bounds().Min.Add(image.Pt(x, y))
	var cr, cg, cb, ca uint32
	switch m := u.Image.(type) { // the usual ones, without a value on the heap
	case *image.YCbCr:
		yi, ci := m.YOffset(at.X, at.Y), m.COffset(at.X, at.Y)
		r8, g8, b8 := color.YCbCrToRGB(m.Y[yi], m.Cb[ci], m.Cr[ci])
		return float32(r8) / 255, float32(g8) / 255, float32(b8) / 255
	case *image.NRGBA:
		cr, cg, cb, ca = m.NRGBAAt(at.X, at.Y).RGBA()
	case *image.RGBA:
		cr, cg, cb, ca = m.RGBAAt(at.X, at.Y).RGBA()
	default:
		cr, cg, cb, ca = u.At(at.X, at.Y).RGBA()
	}
	const whole = 0xffff
	white := float32(whole - ca)
	return (float32(cr) + white) / whole, (float32(cg) + white) / whole, (float32(cb) + white) / whole
}
