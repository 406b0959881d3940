package adminapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Listen makes the socket of a data folder, in place of one that a server left behind.
// The caller holds the folder's lock, so that no other server has it.
func Listen(dataDir string) (net.Listener, error) {
	// The socket is made in a folder that nobody else can enter and moved when its
	// rights are set, so that it is at no time open to others.
	private, err := os.MkdirTemp(dataDir, ".control-")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer os.RemoveAll(private)
	first := filepath.Join(private, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: first, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w (the path of a socket has about 100 bytes at most; %s has %d)", err, first, len(first))
	}
	ln.SetUnlinkOnClose(false)
	path := Path(dataDir)
	if err := errors.Join(os.Chmod(first, 0o600), os.Rename(first, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), ln.Close())
	}
	return &listener{UnixListener: ln, path: path}, nil
}

// listener takes its socket away when it closes.
type listener struct {
	*net.UnixListener
	path string
	once sync.Once
}

func (l *listener) Close() error {
	l.once.Do(func() { _ = os.Remove(l.path) })
	return l.UnixListener.Close()
}

// Server answers on a control socket.
type Server struct {
	methods Methods
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{}
	open   sync.WaitGroup
}

// NewServer makes a server of these methods. Each call is logged by name.
func NewServer(methods Methods, log *slog.Logger) *Server {
	s := &Server{methods: methods, log: log, slots: make(chan struct{}, connectionsMax)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Serve answers until the listener is closed, and returns nil then.
func (s *Server) Serve(ln net.Listener) error {
	for {
		s.slots <- struct{}{}
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
		s.open.Go(func() {
			defer func() { conn.Close(); <-s.slots }()
			s.exchange(conn)
		})
	}
}

// Shutdown waits for the exchanges under way, and breaks them off when ctx ends. The
// listener is the caller's to close, before.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.open.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.cancel()
		return ctx.Err()
	}
}

func (s *Server) exchange(conn net.Conn) {
	ctx, cancel := context.WithTimeout(s.ctx, exchangeMax)
	defer cancel()
	// A cancelled context ends the reading and the writing, too.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	line, err := readLine(conn, requestBytesMax)
	if err != nil {
		s.log.Debug("control socket", "err", err)
		return
	}
	answer := reply{Keystead: Version}
	result, err := s.do(ctx, line)
	if err == nil {
		answer.Result, err = json.Marshal(result)
	}
	if err != nil {
		answer.Error = err.Error()
	}
	text, err := json.Marshal(answer)
	if err == nil {
		_, err = conn.Write(append(text, '\n'))
	}
	if err != nil {
		s.log.Debug("control socket", "err", err)
	}
}

func (s *Server) do(ctx context.Context, line []byte) (result any, err error) {
	var asked request
	if err := strictly(line, &asked); err != nil {
		return nil, fmt.Errorf("this is not a request: %w", err)
	}
	if asked.Keystead != Version {
		return nil, fmt.Errorf("the server speaks version %d of the control protocol, the command version %d; use the command of the same build", Version, asked.Keystead)
	}
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a control method panicked", "method", asked.Method, "panic", p)
			err = errors.New("the server could not do that; see its log")
		}
	}()
	result, err = s.methods.Do(ctx, asked.Method, asked.Args)
	s.log.Info("control", "method", asked.Method, "ok", err == nil)
	return result, err
}

// strictly decodes exactly one JSON value without unknown fields.
func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// readLine reads up to a newline or the end, and refuses more than max bytes.
func readLine(r io.Reader, max int64) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(r, max+1)).ReadBytes('\n')
	if err != nil && (err != io.EOF || len(line) == 0) {
		return nil, fmt.Errorf("read a line: %w", err)
	}
	if int64(len(line)) > max {
		return nil, fmt.Errorf("a line of more than %d bytes", max)
	}
	return line, nil
}
