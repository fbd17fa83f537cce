package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// PrivatePostgresOnSmallDisk is PrivatePostgres on a disk that FillDisk fills. args are further
// arguments of postgres.
func PrivatePostgresOnSmallDisk(t testing.TB, args ...string) *PrivatePostgresEnv {
	t.Helper()
	return privatePostgres(t, &disk{}, args...)
}

// A disk is a small one of a server's own: a tmpfs where we may mount one, and what is left of it
// can be taken by ballast. Elsewhere a limit on the size of files has to do, with which the server
// is started again.
type disk struct {
	dir     string
	unreal  bool // don't mount one
	mounted bool
	limited bool // files may have no more than a segment of WAL from the server's next start on
}

const (
	diskMB     = 192
	segmentMB  = 1 // of WAL, so that what little a test writes needs another one now and then
	ballast    = "ballast"
	blockBytes = 512 // of ulimit -f
)

func (d *disk) attach(dir string, as account) {
	if d != nil {
		d.dir, d.mounted = dir, !d.unreal && mount(dir, diskMB, as) == nil
	}
}

// walSegment is the size of WAL files in MB.
func (d *disk) walSegment() string {
	if d == nil {
		return "16" // PostgreSQL's default
	}
	return strconv.Itoa(segmentMB)
}

// limit has a server started with the limit, if there is one.
func (d *disk) limit(binary string, args []string) (string, []string) {
	if d == nil || !d.limited {
		return binary, args
	}
	script := fmt.Sprintf(`ulimit -f %d && exec "$0" "$@"`, segmentMB<<20/blockBytes)
	return "sh", append([]string{"-c", script, binary}, args...)
}

var errNoDisk = errors.New("the server has no disk of its own")

// FillDisk leaves no room on the server's disk. If there is a limit instead of a disk, no file can
// grow past a segment of WAL afterwards, and the server has crashed and is back.
func (e *PrivatePostgresEnv) FillDisk() error {
	d := e.server.disk
	switch {
	case d == nil:
		return errNoDisk
	case d.mounted:
		return fill(filepath.Join(d.dir, ballast))
	}
	d.limited = true
	e.server.stop()
	return e.server.start()
}

// FreeDisk undoes FillDisk. A server that has ended meanwhile stays so.
func (e *PrivatePostgresEnv) FreeDisk() error {
	d := e.server.disk
	switch {
	case d == nil:
		return errNoDisk
	case d.mounted:
		return os.RemoveAll(filepath.Join(d.dir, ballast))
	case !d.limited:
		return nil
	}
	d.limited = false
	e.server.stop()
	return e.server.start()
}

// Restart starts the server if it has ended.
func (e *PrivatePostgresEnv) Restart() error {
	select {
	case <-e.server.process.exited:
		return e.server.start()
	default:
		return nil
	}
}
