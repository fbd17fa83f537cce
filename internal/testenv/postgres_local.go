package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// immediate is PostgreSQL's immediate shutdown: it ends as in a crash, but
// gives its shared memory back, which it would not if killed.
const immediate = syscall.SIGQUIT

// A localPostgres is a PostgreSQL process of our own.
type localPostgres struct {
	binary  string
	as      account
	dir     string // holds the data and the Unix socket
	port    int
	args    []string
	disk    *disk // nil: the machine's
	process *process
}

// startPostgres makes a database cluster and starts it on a free port with
// extra arguments of postgres.
func startPostgres(args ...string) (*localPostgres, error) { return startPostgresOn(nil, args...) }

// startPostgresOn does so on a disk of its own.
func startPostgresOn(d *disk, args ...string) (*localPostgres, error) {
	initdb, err := postgresBinary("initdb")
	if err != nil {
		return nil, err
	}
	as, err := postgresAccount()
	if err != nil {
		return nil, err
	}
	p := &localPostgres{binary: filepath.Join(filepath.Dir(initdb), "postgres"), as: as, args: args, disk: d}
	if p.dir, err = serverDir(as); err != nil {
		return nil, err
	}
	d.attach(p.dir, as)
	if err = p.create(initdb); err == nil {
		err = p.startSomewhere()
	}
	if err != nil {
		p.discard()
		return nil, err
	}
	return p, nil
}

// create makes the database cluster. Its contents needn't survive the machine.
func (p *localPostgres) create(initdb string) error {
	cmd := exec.Command(initdb, "--pgdata", p.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions", "--wal-segsize", p.disk.walSegment())
	cmd.SysProcAttr = attributes(p.as, syscall.SIGKILL)
	cmd.Dir = p.dir // the current directory may be closed to that user
	var out []byte
	err := onLastingThread(func() (err error) { out, err = cmd.CombinedOutput(); return err })
	if err != nil {
		return fmt.Errorf("run initdb: %w: %s", err, out)
	}
	return nil
}

func (p *localPostgres) startSomewhere() (err error) {
	for range 5 { // another process may take the port first
		if p.port, err = freePort(); err != nil {
			return err
		}
		if err = p.start(); err == nil {
			return nil
		}
	}
	return err
}

func (p *localPostgres) data() string { return filepath.Join(p.dir, "data") }
func (p *localPostgres) url() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.port)
}

// start starts the process and waits until it has recovered its data.
func (p *localPostgres) start() error {
	args := append([]string{
		"-D", p.data(), "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + p.dir,
		"-c", "max_connections=300", "-c", "shared_buffers=32MB",
	}, p.args...)
	binary, args := p.disk.limit(p.binary, args)
	proc, err := launch(p.as, immediate, binary, args...)
	if err != nil {
		return err
	}
	p.process = proc
	if err := proc.ready(func() error { return pingPostgres(p.url(), p.data()) }); err != nil {
		p.stop()
		return fmt.Errorf("start postgres: %w", err)
	}
	return nil
}

func (p *localPostgres) stop() { p.process.end() }

func (p *localPostgres) remove() {
	p.stop()
	p.discard()
}

func (p *localPostgres) discard() {
	unmount(p.dir)
	_ = os.RemoveAll(p.dir)
}

// postgresBinary finds a program of PostgreSQL in PATH or, newest first, where
// Debian keeps it.
func postgresBinary(name string) (string, error) {
	found, err := exec.LookPath(name)
	if err == nil {
		if target, err := filepath.EvalSymlinks(found); err == nil {
			return target, nil
		}
		return found, nil
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(installed) == 0 {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return slices.MaxFunc(installed, func(a, b string) int { return version(a) - version(b) }), nil
}

// postgresAccount is ourselves, unless we are root.
func postgresAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return account{uid: uint32(uid), gid: uint32(gid), other: true}, nil
		}
	}
	return account{}, errNoAccount
}
