// Package preflight looks at the machine for what a configuration needs, before a
// server starts and when an operator asks: folders that can be written, certificates
// that clients will take, addresses that are free.
//
// What it finds are config.Problems like those of the file: one line each that says
// what to change. It changes nothing that stays: a file that it writes to try a folder
// is taken away again, and a port that it opens is closed. What it finds may change
// before the server starts, so the server still meets its own errors.
package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/keystead/keystead/cmd/keystead/adminapi"
	"github.com/keystead/keystead/cmd/keystead/config"
	"github.com/keystead/keystead/cmd/keystead/ops/keyfile"
)

// trialBytes is what is written to see whether a folder has room.
const trialBytes = 256 << 10

// Check says everything about the machine that keeps a server of this configuration
// from starting, or its clients from using it. Paths in c are absolute.
func Check(c config.Config, now time.Time) config.Problems {
	var k checker
	k.dataFolder(c)
	k.highWater(c)
	k.archive(c)
	k.certificate("http", c.HTTP.TLSCert, c.HTTP.TLSKey, c.HTTP.PublicURL, c.HTTP.Listen, now)
	k.certificate("rpc", c.RPC.TLSCert, c.RPC.TLSKey, c.RPC.PublicURI, c.RPC.Listen, now)
	// A server that runs on the folder has these addresses by right.
	if !adminapi.Running(c.Data.Dir) {
		k.addresses(c)
	}
	return k.problems
}

type checker struct{ problems config.Problems }

func (k *checker) mistake(field, format string, args ...any) {
	k.problems = append(k.problems, config.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
}

func (k *checker) warn(field, format string, args ...any) {
	k.problems = append(k.problems, config.Problem{Field: field, Warning: true, Text: fmt.Sprintf(format, args...)})
}

// folder checks a folder that the server will make, or has made, and says whether it
// is well.
func (k *checker) folder(field, dir string) bool {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		k.mistake(field, "%s is a file; write the path of a folder", dir)
		return false
	case errors.Is(err, fs.ErrNotExist):
		return k.parent(field, dir)
	case errors.Is(err, syscall.ENOTDIR):
		k.mistake(field, "%s cannot be made, because a part of the path is a file; write another path", dir)
		return false
	case err != nil:
		k.mistake(field, "%s cannot be looked at (%s); write another path", dir, reason(err))
		return false
	}
	if fault := trial(dir); fault != "" {
		k.mistake(field, "%s %s", dir, fault)
		return false
	}
	return true
}

// parent checks whether a folder that is not there can be made.
func (k *checker) parent(field, dir string) bool {
	above := filepath.Dir(dir)
	for {
		info, err := os.Stat(above)
		switch {
		case err == nil && !info.IsDir():
			k.mistake(field, "%s cannot be made, because %s is a file; write another path", dir, above)
			return false
		case err == nil:
			if fault := trial(above); fault != "" {
				k.mistake(field, "%s cannot be made, because %s %s", dir, above, fault)
				return false
			}
			return true
		case above == filepath.Dir(above) || !errors.Is(err, fs.ErrNotExist):
			k.mistake(field, "%s cannot be made (%s); write another path", dir, reason(err))
			return false
		}
		above = filepath.Dir(above)
	}
}

// trial says what keeps this account from writing into a folder, or nothing.
func trial(dir string) string {
	f, err := os.CreateTemp(dir, ".keystead-check-*")
	if err == nil {
		_, err = f.Write(make([]byte, trialBytes))
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return whyNotWritten(dir, err)
}

// whyNotWritten turns an error into what to change, or nothing.
func whyNotWritten(dir string, err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "is on a full disk; make room there, or write another path"
	case errors.Is(err, syscall.EROFS):
		return "is on a disk that is mounted for reading only; mount it for writing, or write another path"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("cannot be written by this account (uid %d); give it the folder with: chown %d %s", os.Geteuid(), os.Geteuid(), dir)
	}
	return fmt.Sprintf("cannot be written (%s); write another path", reason(err))
}

// reason is an error without the path that the sentence has already.
func reason(err error) string {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// dataFolder checks the folder and the key in it.
func (k *checker) dataFolder(c config.Config) {
	if !k.folder("data.dir", c.Data.Dir) {
		return
	}
	if _, err := keyfile.Load(c.Data.Dir); err != nil && !errors.Is(err, keyfile.ErrNoKey) {
		text := err.Error()
		if errors.Is(err, fs.ErrPermission) {
			text = fmt.Sprintf("%s cannot be read by this account (uid %d); run the server as the account that made it", keyfile.Path(c.Data.Dir), os.Geteuid())
		}
		k.mistake("data.dir", "%s", strings.Join(strings.Fields(text), " "))
	}
}

// highWater checks the place of the record, which is of use only outside the folder.
func (k *checker) highWater(c config.Config) {
	path := c.HighWaterPath()
	above := filepath.Dir(path)
	info, err := os.Stat(path)
	switch {
	case inside(path, c.Data.Dir):
		k.mistake("data.high_water", "%s is inside the data folder, and would be restored with it; write a path beside or outside of %s", path, c.Data.Dir)
		return
	case err == nil && info.IsDir():
		k.mistake("data.high_water", "%s is a folder; write the path of a file", path)
		return
	}
	if c.Data.HighWater == "" && k.blames("data.dir") {
		return // one cause is told once
	}
	info, err = os.Stat(above)
	switch {
	case c.Data.HighWater == "" && errors.Is(err, fs.ErrNotExist):
		// The server makes the folder when it makes the data folder.
	case errors.Is(err, fs.ErrNotExist):
		k.mistake("data.high_water", "the folder %s does not exist; make it with: mkdir -p %s", above, above)
	case err != nil:
		k.mistake("data.high_water", "%s cannot be looked at (%s); write another path", above, reason(err))
	case !info.IsDir():
		k.mistake("data.high_water", "%s is a file; write a path in a folder", above)
	default:
		if fault := trial(above); fault != "" {
			k.mistake("data.high_water", "the folder %s %s", above, fault)
		}
	}
}

// blames says whether a field has a mistake already.
func (k *checker) blames(field string) bool {
	for _, p := range k.problems {
		if p.Field == field && !p.Warning {
			return true
		}
	}
	return false
}

// inside says whether a path is a folder or in it, links resolved as far as they are.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(resolved(dir), resolved(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolved follows the links in the part of a path that is there.
func resolved(path string) string {
	rest := ""
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return filepath.Clean(path)
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

func (k *checker) archive(c config.Config) {
	if c.Data.Archive != "" {
		k.folder("data.archive", c.ArchivePath())
	}
}

// addresses tries to listen where the doors will, all at once.
func (k *checker) addresses(c config.Config) {
	for _, d := range []struct{ field, address string }{
		{"http.listen", c.HTTP.Listen}, {"rpc.listen", c.RPC.Listen}, {"ops.listen", c.Ops.Listen},
	} {
		if d.address == "" {
			continue
		}
		ln, err := net.Listen("tcp", d.address)
		if err != nil {
			k.mistake(d.field, "%s", WhyNotListening(d.address, err))
			continue
		}
		defer ln.Close()
	}
}

// WhyNotListening says in one line why an address cannot be listened on, and what to
// change.
func WhyNotListening(address string, err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return address + " is in use by another program; stop that, or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return address + " is not an address of this machine; choose one of its own, or 0.0.0.0 or [::] for all"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return address + " needs a right that this account does not have (ports below 1024); choose a higher port, or give it CAP_NET_BIND_SERVICE"
	case errors.As(err, &dns):
		return address + " has a host name that this machine does not know; write an IP address"
	}
	return fmt.Sprintf("%s cannot be listened on (%s); choose another address", address, reason(err))
}
