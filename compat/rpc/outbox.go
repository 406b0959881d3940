package rpc

import "sync"

// outbox is what waits to be written to one connection. The goroutine that writes lives
// only while something waits: most connections are silent most of the time.
type outbox struct {
	mu      sync.Mutex
	frames  [][]byte
	bytes   int
	closed  bool // nothing is taken any more
	last    bool // nothing is added any more
	writing bool // there is a writer
	writers sync.WaitGroup
}

// send queues a frame. A reader that is too slow for it loses the connection.
func (c *conn) send(frame []byte) {
	limit := c.srv.limits.QueueBytes
	if c.session() == nil {
		limit = c.srv.limits.QueueBytesBeforeAuth
	}
	begin, reason := c.out.add(frame, limit, &c.srv.budget)
	if reason != "" {
		c.close(reason)
	}
	if begin {
		go func() {
			defer c.out.writers.Done()
			defer c.recovered("writer")
			c.write()
		}()
	}
}

// add queues a frame, or says why the connection must go. The first waiting frame
// may be of any size: an answer is not refused for being long. Who is told to begin
// starts the writer.
func (o *outbox) add(frame []byte, limit int, b *budget) (begin bool, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed, o.last:
		return false, ""
	case o.bytes > 0 && o.bytes+len(frame) > limit:
		return false, "slow reader"
	case !b.take(len(frame)):
		return false, "buffers full"
	}
	o.frames = append(o.frames, frame)
	o.bytes += len(frame)
	if o.writing {
		return false, ""
	}
	o.writing = true
	o.writers.Add(1)
	return true, ""
}

// finish takes nothing more and returns when all is written.
func (o *outbox) finish() {
	o.mu.Lock()
	o.last = true
	o.mu.Unlock()
	o.writers.Wait()
}

// shut drops what waits and ends the writer.
func (o *outbox) shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

// abandon gives back what was never written.
func (o *outbox) abandon(b *budget) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, f := range o.frames {
		b.give(len(f))
	}
	o.frames, o.bytes = nil, 0
}

// take removes the oldest frame; ok is false when the writer has to end.
func (o *outbox) take() (frame []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.frames) == 0 {
		o.writing = false
		return nil, false
	}
	frame = o.frames[0]
	o.frames[0] = nil
	if o.frames = o.frames[1:]; len(o.frames) == 0 {
		o.frames = nil
	}
	o.bytes -= len(frame)
	return frame, true
}

// write sends frames in order until none waits or the connection ends.
func (c *conn) write() {
	for {
		frame, ok := c.out.take()
		if !ok {
			return
		}
		err := c.writeFrame(frame)
		c.srv.budget.give(len(frame))
		if err != nil {
			c.close("slow reader or network")
			return
		}
	}
}

// writeFrame writes in chunks, each with its own deadline, so that a slow but
// living reader of a long answer is not cut off.
func (c *conn) writeFrame(frame []byte) error {
	for len(frame) > 0 {
		n := min(len(frame), writeChunk)
		if err := c.writeBy(); err != nil {
			return err
		}
		if _, err := c.nc.Write(frame[:n]); err != nil {
			return err
		}
		frame = frame[n:]
	}
	return nil
}

// writeBy sets the write deadline unless the connection was closed, whose deadline
// in the past must stay.
func (c *conn) writeBy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ctx.Err(); err != nil {
		return err
	}
	return c.nc.SetWriteDeadline(c.srv.opts.Clock().Add(c.srv.limits.WriteWithin))
}
