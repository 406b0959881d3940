package limits

import (
	"strconv"
	"time"
)

// Row is one limit as people read it. Rooms return theirs from a function LimitRows;
// vocabulary packages, which import nothing of ours, have a struct of their own with
// the same fields.
type Row struct {
	Name  string // as it is called in the code
	Value string
	Unit  string
	What  string // what is bounded, and what happens beyond it
}

// Count is a row of a number of things.
func Count[N int | int32 | int64](name string, value N, unit, what string) Row {
	return Row{Name: name, Value: strconv.FormatInt(int64(value), 10), Unit: unit, What: what}
}

// Bytes is a row of a size.
func Bytes[N int | int64](name string, value N, what string) Row {
	n, unit := int64(value), "bytes"
	for _, larger := range []string{"KiB", "MiB", "GiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return Row{Name: name, Value: strconv.FormatInt(n, 10), Unit: unit, What: what}
}

// Time is a row of a duration.
func Time(name string, value time.Duration, what string) Row {
	return Row{Name: name, Value: spell(value), Unit: "time", What: what}
}

// LimitRows tells the bounds of the limits themselves.
func LimitRows() []Row {
	return []Row{
		Count("KeysMax", KeysMax, "counts", "kept by one rate limit; beyond them the one that recovers soonest is forgotten"),
		Count("burstMax", burstMax, "events", "in the burst of a rate that an operator sets"),
		Count("refillMax", refillMax, "events", "in one period of a rate that an operator sets"),
		Time("periodMax", periodMax, "for one period of a rate that an operator sets"),
		Time("recoveryMax", recoveryMax, "until a rate that an operator sets has recovered"),
		Count("prefixesMax", prefixesMax, "ranges", "in a list of addresses that an operator sets"),
		Count("ticketMax", ticketMax, "rate limits", "asked together for one request"),
	}
}
