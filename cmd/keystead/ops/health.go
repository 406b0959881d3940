package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// healthBytesMax bounds how much of an answer is shown.
const healthBytesMax = 4096

// Health asks the operator's listener at address (host:port) and writes one clear
// line to out. It returns nil only for a server that says it is well; ctx bounds
// the wait.
func Health(ctx context.Context, address string, out io.Writer) error {
	if address == "" {
		return errors.New("the operator's listener is off: set ops.listen, start the server again, and ask again")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", address, err)
	}
	// No proxy: the question is about this address, whatever the environment says.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return unreachable(address, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, healthBytesMax))
	if err != nil {
		return fmt.Errorf("%s began an answer and broke off: %w", address, err)
	}
	said := strings.Join(strings.Fields(string(body)), " ")
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("unhealthy: %s answers %s: %s", address, answer.Status, said)
	}
	_, err = fmt.Fprintf(out, "healthy: %s answers: %s\n", address, said)
	return err
}

// unreachable says what a failed call most likely means.
func unreachable(address string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("nothing answers at %s (%w): is the server running?", address, op.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("unhealthy: %s took the call and gave no answer in time", address)
	}
	return fmt.Errorf("ask %s: %w", address, err)
}
