// Package ops is the operator's verbs: how to point a client at this server, is it
// healthy, is everything it keeps true.
//
// The verbs work from outside a running server: they read the data folder
// (endpoints.json and the public key name, never the secret) or call the operator's
// listener. They write to the writers they are given and return errors that say
// what to do; the exit status is the caller's business.
//
// The only file that the package writes is endpoints.json, by serve, whole and
// atomically.
package ops

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keystead/keystead/compat/kbsig"
)

// endpointsName is the file in the data folder that says where the server of this
// folder was last started.
const endpointsName = "endpoints.json"

// endpointsBytesMax bounds what is read of it.
const endpointsBytesMax = 64 << 10

// ErrNotStarted reports a data folder from which no server was ever started.
var ErrNotStarted = errors.New("no server has been started on this data folder")

// Endpoints is what a client or an operator's command needs to know of a server.
type Endpoints struct {
	ServerURI string `json:"server_uri"` // KEYBASE_SERVER_URI
	PushURI   string `json:"push_uri"`   // KEYBASE_PUSH_SERVER_URI
	MerkleKID string `json:"merkle_kid"` // KEYBASE_MERKLE_KIDS
	Devel     bool   `json:"devel"`      // clients need KEYBASE_RUN_MODE=devel
	Ops       string `json:"ops"`        // host:port of health and metrics; empty: off
}

// check refuses what did not come from serve: everything here ends up in a shell.
func (e Endpoints) check() error {
	kid, err := kbsig.ParseKID(e.MerkleKID)
	if err != nil {
		return fmt.Errorf("merkle_kid: %w", err)
	}
	if !kid.IsSigning() {
		return errors.New("merkle_kid is not the name of a signing key")
	}
	for name, value := range map[string]string{"server_uri": e.ServerURI, "push_uri": e.PushURI} {
		if value == "" {
			return fmt.Errorf("%s is empty", name)
		}
		for _, r := range value {
			if r <= ' ' || r >= 0x7f {
				return fmt.Errorf("%s has a character that no address has", name)
			}
		}
	}
	return nil
}

// WriteEndpoints puts e into the data folder, over what an earlier start wrote.
func WriteEndpoints(dataDir string, e Endpoints) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("write %s: %w", endpointsName, err)
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", endpointsName, err)
	}
	tmp, err := os.CreateTemp(dataDir, "."+endpointsName+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", endpointsName, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dataDir, endpointsName))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", endpointsName, err)
	}
	return nil
}

// ReadEndpoints reads what the last start wrote; ErrNotStarted when none did.
func ReadEndpoints(dataDir string) (Endpoints, error) {
	path := filepath.Join(dataDir, endpointsName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Endpoints{}, fmt.Errorf("%s: %w", dataDir, ErrNotStarted)
	}
	if err != nil {
		return Endpoints{}, fmt.Errorf("read the endpoints: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, endpointsBytesMax+1))
	if err != nil {
		return Endpoints{}, fmt.Errorf("read the endpoints: %w", err)
	}
	if len(text) > endpointsBytesMax {
		return Endpoints{}, fmt.Errorf("%s has more than %d bytes; start the server again to have it written anew", path, endpointsBytesMax)
	}
	var e Endpoints
	if err := json.Unmarshal(text, &e); err != nil {
		return Endpoints{}, fmt.Errorf("%s is damaged (%w); start the server again to have it written anew", path, err)
	}
	if err := e.check(); err != nil {
		return Endpoints{}, fmt.Errorf("%s is damaged (%w); start the server again to have it written anew", path, err)
	}
	return e, nil
}
