package rpc

import "time"

// Limits of the door. Sizes are bytes. The zero value of a field means its default,
// which Options.Limits documents by DefaultLimits.
type Limits struct {
	// FrameBeforeAuth bounds a frame of a connection that has not said who it is.
	FrameBeforeAuth int
	// FrameAfterAuth bounds a frame afterwards. Clients themselves stop at 100 MiB.
	FrameAfterAuth int
	// AnswerBytes bounds a result before compression; a larger one is an error.
	AnswerBytes int

	// Conns bounds connections in all, ConnsPerAddress those of one IPv4 address
	// or IPv6 /64. The Unauthenticated pair bounds those that have not said who
	// they are, so that silent ones cannot use up the places of others: beyond it,
	// and beyond Conns, the one that has been silent longest makes room.
	Conns                          int
	ConnsPerAddress                int
	ConnsUnauthenticated           int
	ConnsUnauthenticatedPerAddress int

	// CallsPerConn bounds the calls of a connection that are running at once; more
	// are answered with an error. Pings are not counted.
	CallsPerConn int

	// AuthWithin is how long a connection may take, TLS included, to authenticate.
	AuthWithin time.Duration
	// IdleAfter closes a connection that sends nothing; clients ping every 10 s.
	IdleAfter time.Duration
	// FrameWithin bounds the time from a frame's first byte to its last.
	FrameWithin time.Duration
	// WriteWithin bounds the time to hand writeChunk bytes to the network.
	WriteWithin time.Duration
	// CallWithin ends the context of a running call; clients give up after 30 s.
	CallWithin time.Duration

	// Farewell is how long a device whose session has ended may stay connected, so
	// that it hears of it: a client that is cut off at once only dials again, and
	// never learns that it was revoked.
	Farewell time.Duration

	// QueueBytes bounds what waits to be written to one connection beyond the
	// frame being written; a slower reader is dropped and syncs again.
	QueueBytes int
	// QueueBytesBeforeAuth is the same before authentication.
	QueueBytesBeforeAuth int
	// BufferedBytes bounds frames being read, running or waiting to be written,
	// over all connections. A connection that needs more is dropped.
	BufferedBytes int64
}

// DefaultLimits are the limits that apply where Options.Limits says nothing.
func DefaultLimits() Limits {
	return Limits{
		FrameBeforeAuth:                16 << 10,
		FrameAfterAuth:                 16 << 20,
		AnswerBytes:                    64 << 20,
		Conns:                          20_000,
		ConnsPerAddress:                512,
		ConnsUnauthenticated:           16_384,
		ConnsUnauthenticatedPerAddress: 128,
		CallsPerConn:                   64,
		AuthWithin:                     15 * time.Second,
		IdleAfter:                      90 * time.Second,
		FrameWithin:                    60 * time.Second,
		WriteWithin:                    30 * time.Second,
		CallWithin:                     25 * time.Second,
		Farewell:                       3 * time.Second,
		QueueBytes:                     8 << 20,
		QueueBytesBeforeAuth:           16 << 10,
		BufferedBytes:                  512 << 20,
	}
}

// Limits that are not configured.
const (
	// methodBytesMax bounds a method's name.
	methodBytesMax = 128
	// depthMax bounds the nesting of an argument's containers.
	depthMax = 32
	// readStep is the first buffer for a frame; it doubles as bytes arrive, so
	// that a declared length alone costs nothing.
	readStep = 4 << 10
	// readAhead is the buffer that every connection keeps: a ping fits in, and what is
	// longer is read past it.
	readAhead = 512
	// writeChunk is written under one deadline.
	writeChunk = 256 << 10
	// inflateFloor and inflateRatio bound a decompressed argument: the floor plus
	// the ratio times its compressed size, and never more than its class allows.
	inflateFloor = 64 << 10
	inflateRatio = 16
	// storedBytesMax is the size up to which an answer is gzip in form only.
	storedBytesMax = 512
	// settleFor is how long broadcasts are held back after the answer to syncAll:
	// clients load the state from that answer over what they have, and would lose
	// a message that overtakes it. The client's next frame ends the wait early.
	settleFor = 500 * time.Millisecond
	// toldFor is how long a device stays connected after it was told that its session
	// has ended.
	toldFor = 500 * time.Millisecond
)

// class bounds an argument after decompression. Values counts every element,
// key and scalar in it: a byte on the wire can become a record in memory.
type class struct {
	name   string
	bytes  int
	values int
}

// The body classes of the method table.
var (
	classSmall  = class{"small", 64 << 10, 1024}
	classMedium = class{"medium", 1 << 20, 4096}
	classLarge  = class{"large", 16 << 20, 65536}
)

// orDefaults fills what l leaves zero.
func (l Limits) orDefaults() Limits {
	d := DefaultLimits()
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orInt(&l.FrameBeforeAuth, d.FrameBeforeAuth)
	orInt(&l.FrameAfterAuth, d.FrameAfterAuth)
	orInt(&l.AnswerBytes, d.AnswerBytes)
	orInt(&l.Conns, d.Conns)
	orInt(&l.ConnsPerAddress, d.ConnsPerAddress)
	orInt(&l.ConnsUnauthenticated, d.ConnsUnauthenticated)
	orInt(&l.ConnsUnauthenticatedPerAddress, d.ConnsUnauthenticatedPerAddress)
	orInt(&l.CallsPerConn, d.CallsPerConn)
	orDuration(&l.AuthWithin, d.AuthWithin)
	orDuration(&l.IdleAfter, d.IdleAfter)
	orDuration(&l.FrameWithin, d.FrameWithin)
	orDuration(&l.WriteWithin, d.WriteWithin)
	orDuration(&l.CallWithin, d.CallWithin)
	orDuration(&l.Farewell, d.Farewell)
	orInt(&l.QueueBytes, d.QueueBytes)
	orInt(&l.QueueBytesBeforeAuth, d.QueueBytesBeforeAuth)
	if l.BufferedBytes == 0 {
		l.BufferedBytes = d.BufferedBytes
	}
	return l
}
