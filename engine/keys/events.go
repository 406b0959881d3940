package keys

import "encoding/binary"

// Families of the outbox of news.
const (
	prefixEvent       = 'G'
	prefixEventCursor = 'V'
)

// Event is the key of an entry of the outbox; entries are numbered from 1.
func Event(n int64) []byte { return cat(prefixEvent, be64(uint64(n))) }

// Events is the prefix of all entries of the outbox, in order.
func Events() []byte { return []byte{prefixEvent} }

// EventNumber reads the number out of an Event key.
func EventNumber(k []byte) (n int64, ok bool) {
	if len(k) != 9 || k[0] != prefixEvent {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(k[1:])), true
}

// EventCursor is the key of how far a consumer of the outbox has come. The empty name
// is the outbox itself: where it begins and ends.
func EventCursor(consumer string) []byte { return cat(prefixEventCursor, []byte(consumer)) }

// EventCursors is the prefix of all positions in the outbox.
func EventCursors() []byte { return []byte{prefixEventCursor} }

// EventCursorOf reads the consumer's name out of an EventCursor key.
func EventCursorOf(k []byte) (consumer string, ok bool) {
	if len(k) < 1 || k[0] != prefixEventCursor {
		return "", false
	}
	return string(k[1:]), true
}
