package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keystead/keystead/cmd/keystead/adminapi"
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
	"github.com/keystead/keystead/cmd/keystead/tlsfile"
	"github.com/keystead/keystead/engine/accounts"
	"github.com/keystead/keystead/engine/clock"
	"github.com/keystead/keystead/engine/store"
)

// certificate is the pair of one door.
type certificate struct {
	door string
	*tlsfile.Keeper
}

// openCertificates loads the pairs of the doors that have one.
func (n *node) openCertificates() error {
	for _, d := range []struct{ door, cert, key string }{
		{"http", n.cfg.HTTP.TLSCert, n.cfg.HTTP.TLSKey}, {"rpc", n.cfg.RPC.TLSCert, n.cfg.RPC.TLSKey},
	} {
		if d.cert == "" {
			continue
		}
		k, err := tlsfile.Open(d.door, tlsfile.Files{Cert: d.cert, Key: d.key}, n.log, n.Clock)
		if err != nil {
			return fmt.Errorf("%s.tls_cert: %w", d.door, err)
		}
		n.certs = append(n.certs, certificate{d.door, k})
		n.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keystead_tls_not_after_seconds", ConstLabels: prometheus.Labels{"door": d.door},
			Help: "When the certificate in use ends, in unix seconds.",
		}, func() float64 { return float64(k.NotAfter().Unix()) }))
	}
	return nil
}

// tlsConfig is what a door listens with; nil means plain.
func (n *node) tlsConfig(door string, protocols ...string) *tls.Config {
	for _, c := range n.certs {
		if c.door == door {
			return c.Config(protocols...)
		}
	}
	return nil
}

// reload looks at the certificates because somebody asked for it.
func (n *node) reload() []adminapi.ReloadedDoor {
	var doors []adminapi.ReloadedDoor
	for _, c := range n.certs {
		d := adminapi.ReloadedDoor{Door: c.door}
		var err error
		if d.Taken, err = c.Reload(); err != nil {
			d.Error = err.Error()
		}
		d.Until = c.NotAfter().Unix()
		doors = append(doors, d)
	}
	n.log.Info("reload", "certificates", len(doors))
	return doors
}

// aboutStore are the control methods that need nothing but a store.
func aboutStore(w World, st *store.Store, cfg config.Config) adminapi.Methods {
	methods := adminapi.Methods{}
	maps.Copy(methods, adminapi.Invitations{Store: st, Rand: w.Rand, Clock: w.Clock, Policy: accounts.SignupPolicy(cfg.Signup.Policy)}.Methods())
	maps.Copy(methods, adminapi.Announcements{Store: st, Clock: w.Clock}.Methods())
	maps.Copy(methods, adminapi.Sessions{Store: st, Clock: w.Clock}.Methods())
	return methods
}

// openControl opens the control socket. A server without one serves all the same.
func (n *node) openControl() {
	if n.Control == nil {
		return
	}
	ln, err := n.Control(n.cfg.Data.Dir)
	if err != nil {
		n.log.Warn("commands that talk to a running server will not find this one", "err", err)
		return
	}
	methods := adminapi.Methods{adminapi.Reload: adminapi.ReloadMethod(n.reload)}
	maps.Copy(methods, aboutStore(n.World, n.store, n.cfg))
	n.controlLn, n.control = ln, adminapi.NewServer(methods, n.log)
}

// watch reloads and polls certificates until ctx ends.
func (n *node) watch(ctx context.Context) {
	poll := time.NewTicker(tlsfile.PollInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			for _, c := range n.certs {
				c.Poll()
			}
		case <-n.Hangup:
			n.reload()
		}
	}
}

// Offline runs a control method on a folder on which no server runs.
func Offline(ctx context.Context, cfg config.Config, method string, args, result any) (err error) {
	dir := cfg.Data.Dir
	// A folder without a key is no server, and opening the store would make one.
	if _, err := keyfile.LoadKID(dir); err != nil {
		return err
	}
	// What another account writes, the server's cannot read at the next start.
	if err := sameOwner(dir); err != nil {
		return err
	}
	w := RealWorld()
	st, err := store.Open(store.Options{Dir: storeDir(dir), Clock: clock.Monotone(clock.System()), Rand: w.Rand})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("a server runs on %s, but has no control socket (its log says why); stop it first: %w", dir, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	got, err := aboutStore(w, st, cfg).Do(ctx, method, raw)
	if err != nil || result == nil {
		return err
	}
	text, err := json.Marshal(got)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return json.Unmarshal(text, result)
}

// sameOwner refuses to write into a folder of another account.
func sameOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the data folder: %w", err)
	}
	if uid, known := ownerOf(info); known && uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to the account with uid %d; run this as that account (sudo -u '#%d' ...), or while the server runs", dir, uid, uid)
	}
	return nil
}
