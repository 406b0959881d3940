// Command crash kills the built server under load, again and again, and shows that
// nothing that was acknowledged is lost, doubled or reordered and that no root is ever
// forked or taken back.
//
//	go run ./bench/crash -cycles 25
//
// One cycle: workers (bench/client, each with a verifier that never forgets) sign up,
// add and revoke devices, follow, post ephemeral keys, log in, and make, change, rename,
// rotate, leave and delete teams and subteams, until the server is
// killed with SIGKILL at a random moment, or asked to stop in some cycles. Then the
// stopped folder is audited with `keystead verify`, the server is started again
// (sometimes killed once more while it starts), and the checker compares everything
// that the public API tells, through a strict client, with the ledger.
//
//   - The ledger (ledger.go) is a file outside the data folder. Each request that
//     changes something is written down before it leaves, and again with its outcome:
//     acknowledged, refused, unknown, or unsent. The tap on the wire (tap.go) writes it,
//     below the clients. The checker (book.go, check.go, order.go, and of teams teambook.go
//     and teamcheck.go) reads only this file.
//   - The witness (witness.go, and of teams teamwitness.go) stands beside the workers: it
//     polls the newest root and sees every root on the wire, and what each says of teams.
//     Its memory spans all cycles. The root in which a team's link first stands is looked
//     for after the restart and asked about again after later ones (teamorder.go).
//   - At the end come the folder's own enemies: a second process, an older copy put in
//     place, a copied folder (folders.go), and single flipped bits in every kind of file
//     (flips.go): refused with a word on what to do, or everything is still there. And
//     first starts that are killed while they make the folder (births.go).
//
// A failure prints seed, cycle and a command line. The seed fixes what is tried and when
// the server is killed; how far it has come by then is up to the machine.
//
// The package imports nothing of the server: it drives the binary from outside.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options say how long and how hard.
type options struct {
	cycles  int
	seed    uint64
	workers int
	keep    bool
	dir     string // "": a temporary one
	bin     string // "": built here
	loadMin time.Duration
	loadMax time.Duration
	stopNth int // every n-th cycle ends with SIGTERM; 0 none
	auditN  int // keystead verify after every n-th cycle; 0 none
	wholeN  int // every user is checked after every n-th cycle, and at the end
	flips   int // flipped bits
	births  int // first starts that are killed
	folders bool
}

func defaults() options {
	return options{
		cycles: 25, seed: 1, workers: 6, loadMin: 50 * time.Millisecond, loadMax: 1500 * time.Millisecond,
		stopNth: 5, auditN: 1, wholeN: 25, flips: 60, births: 20, folders: true,
	}
}

func main() {
	o := defaults()
	flag.IntVar(&o.cycles, "cycles", o.cycles, "how often the server is killed")
	flag.Uint64Var(&o.seed, "seed", o.seed, "what is tried and when; 0 draws one")
	flag.IntVar(&o.workers, "workers", o.workers, "concurrent clients")
	flag.BoolVar(&o.keep, "keep", o.keep, "leave data folder, ledger and logs behind, also if nothing was found")
	flag.StringVar(&o.dir, "dir", o.dir, "empty or new folder to work in (default: a temporary one)")
	flag.StringVar(&o.bin, "bin", o.bin, "server to drive (default: ./cmd/keystead, built first)")
	flag.DurationVar(&o.loadMin, "load-min", o.loadMin, "shortest load before a kill")
	flag.DurationVar(&o.loadMax, "load-max", o.loadMax, "longest load before a kill")
	flag.IntVar(&o.stopNth, "stop", o.stopNth, "every n-th cycle ends with SIGTERM instead; 0: none")
	flag.IntVar(&o.auditN, "verify", o.auditN, "audit the stopped folder after every n-th cycle; 0: never")
	flag.IntVar(&o.wholeN, "whole", o.wholeN, "look at every user, not only the touched ones, after every n-th cycle")
	flag.IntVar(&o.flips, "flips", o.flips, "how many single bits to flip at the end")
	flag.IntVar(&o.births, "births", o.births, "how many first starts on new folders to kill at the end")
	flag.BoolVar(&o.folders, "folders", o.folders, "try copied, restored and doubly served folders at the end")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, o, time.Now, os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "crash: %v\n", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// repeat is the command line that does the same again.
func (o options) repeat() string {
	return fmt.Sprintf("go run ./bench/crash -seed %d -cycles %d -workers %d -load-min %s -load-max %s -stop %d -verify %d -whole %d -flips %d -births %d -folders=%t -keep",
		o.seed, o.cycles, o.workers, o.loadMin, o.loadMax, o.stopNth, o.auditN, o.wholeN, o.flips, o.births, o.folders)
}
