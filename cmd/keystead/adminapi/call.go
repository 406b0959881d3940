package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// Call asks the server of a data folder and decodes its result into result, which may
// be nil. The error is ErrNoServer if none runs.
func Call(ctx context.Context, dataDir, method string, args, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	text, err := json.Marshal(request{Keystead: Version, Method: method, Args: raw})
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeMax)
	defer cancel()
	conn, err := dial(ctx, dataDir)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("ask the server: %w", err)
	}
	line, err := readLine(conn, replyBytesMax)
	if err != nil {
		return fmt.Errorf("the server gave no answer: %w", err)
	}
	var answer reply
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("the server's answer is not one: %w", err)
	}
	switch {
	case answer.Error != "":
		return errors.New(answer.Error)
	case answer.Keystead != Version:
		return fmt.Errorf("the server speaks version %d of the control protocol, this command version %d; use the command of the same build", answer.Keystead, Version)
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return fmt.Errorf("the server's answer to %s is not understood: %w", method, err)
	}
	return nil
}

func dial(ctx context.Context, dataDir string) (net.Conn, error) {
	var d net.Dialer
	path := Path(dataDir)
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%s: %w", dataDir, ErrNoServer)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s belongs to another account; run this command as the account of the server", path)
	}
	return nil, fmt.Errorf("ask the server: %w", err)
}

// Running says whether a server answers on a data folder, to this account or to
// another.
func Running(dataDir string) bool {
	conn, err := dial(context.Background(), dataDir)
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, ErrNoServer)
}
