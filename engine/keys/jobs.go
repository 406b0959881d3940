package keys

import "encoding/binary"

// Prefix bytes of background work.
const (
	prefixJob    = 'J'
	prefixDueJob = 'H'
)

// jobKind is how many bytes of a key name the kind of a job.
const jobKind = 16

// Job is the key of a job that waits, by its kind (padded with zeros) and its own name.
func Job(kind [jobKind]byte, name string) []byte { return cat(prefixJob, kind[:], []byte(name)) }

// Jobs is the prefix of all jobs.
func Jobs() []byte { return []byte{prefixJob} }

// JobsOf is the prefix of the jobs of one kind.
func JobsOf(kind [jobKind]byte) []byte { return cat(prefixJob, kind[:]) }

// JobOf reads kind and name out of a Job key.
func JobOf(k []byte) (kind [jobKind]byte, name string, ok bool) {
	if len(k) < 2+jobKind || k[0] != prefixJob {
		return kind, "", false
	}
	copy(kind[:], k[1:])
	return kind, string(k[1+jobKind:]), true
}

// DueJob is the key of a job's place in time, at in milliseconds.
func DueJob(kind [jobKind]byte, at int64, name string) []byte {
	return cat(prefixDueJob, kind[:], be64(uint64(at)), []byte(name))
}

// DueJobs is the prefix of the jobs of one kind in the order of their times.
func DueJobs(kind [jobKind]byte) []byte { return cat(prefixDueJob, kind[:]) }

// DueJobOf reads kind, time and name out of a DueJob key.
func DueJobOf(k []byte) (kind [jobKind]byte, at int64, name string, ok bool) {
	if len(k) < 2+jobKind+8 || k[0] != prefixDueJob {
		return kind, 0, "", false
	}
	copy(kind[:], k[1:])
	return kind, int64(binary.BigEndian.Uint64(k[1+jobKind:])), string(k[1+jobKind+8:]), true
}
