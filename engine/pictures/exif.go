package pictures

import (
	"bytes"
	"encoding/binary"
)

// Marks of a JPEG file.
const (
	markStart      = 0xd8
	markScan       = 0xda
	markApp1       = 0xe1
	markFrameFirst = 0xc0
	markFrameLast  = 0xcf
	// segmentsMax bounds how many segments are looked at for the orientation.
	segmentsMax = 1000
	// entriesMax bounds the entries of an EXIF directory.
	entriesMax = 500
	// tagOrientation is the entry that says how the camera was held.
	tagOrientation = 0x0112
)

// segments calls fn for each segment of a JPEG file before its pixels.
func segments(file []byte, fn func(mark byte, body []byte) bool) {
	if len(file) < 2 || file[0] != 0xff || file[1] != markStart {
		return
	}
	rest := file[2:]
	for range segmentsMax {
		for len(rest) > 0 && rest[0] != 0xff { // some writers pad
			rest = rest[1:]
		}
		for len(rest) > 1 && rest[1] == 0xff {
			rest = rest[1:]
		}
		if len(rest) < 4 || rest[1] == markScan {
			return
		}
		n := int(binary.BigEndian.Uint16(rest[2:]))
		if n < 2 || len(rest) < 2+n || !fn(rest[1], rest[4:2+n]) {
			return
		}
		rest = rest[2+n:]
	}
}

// progressive reports whether a JPEG file is coded in several passes; when in doubt it
// is.
func progressive(file []byte) bool {
	several := true
	segments(file, func(mark byte, _ []byte) bool {
		switch {
		case mark < markFrameFirst || mark > markFrameLast, mark == 0xc4, mark == 0xc8, mark == 0xcc:
			return true
		}
		several = mark != 0xc0 && mark != 0xc1
		return false
	})
	return several
}

// orientation is how a JPEG file says that it must be turned, from 1 to 8 as EXIF
// numbers them; 0 if it does not say. What is malformed says nothing.
func orientation(file []byte) (turn int) {
	segments(file, func(mark byte, body []byte) bool {
		if t, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); mark == markApp1 && ok {
			turn = tiffOrientation(t)
			return false
		}
		return true
	})
	return turn
}

func tiffOrientation(t []byte) int {
	if len(t) < 8 {
		return 0
	}
	var order binary.ByteOrder
	switch string(t[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := uint64(order.Uint32(t[4:]))
	if at+2 > uint64(len(t)) {
		return 0
	}
	n := min(int(order.Uint16(t[at:])), entriesMax)
	const entryBytes = 12 // tag, type, count, value
	for i := range n {
		e := at + 2 + uint64(i*entryBytes)
		if e+entryBytes > uint64(len(t)) {
			return 0
		}
		if order.Uint16(t[e:]) == tagOrientation {
			if v := int(order.Uint16(t[e+8:])); v >= 1 && v <= 8 {
				return v
			}
			return 0
		}
	}
	return 0
}
