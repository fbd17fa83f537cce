package redisconn

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redialAfter is how long a failed dial stands for those that follow.
const redialAfter = 25 * time.Millisecond

// A dialer is a hook under whose eyes no dial fails: instead it yields a connection that does. go-redis counts dials that
// failed, and from as many as its pool has connections on returns the last error for up to a second without trying.
type dialer struct {
	now func() time.Time

	mu     sync.Mutex
	failed map[string]failure // by address
}

// A failure is the last dial of an address, if it failed.
type failure struct {
	err error
	at  time.Time
}

func newDialer() *dialer { return &dialer{now: time.Now, failed: map[string]failure{}} }

// DialHook implements [redis.Hook].
func (d *dialer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if err := d.recent(addr); err != nil {
			return deadConn{dialError{err}}, nil //nolint:nilerr // the connection has it
		}
		conn, err := next(ctx, network, addr)
		d.note(addr, err)
		if err != nil {
			return deadConn{dialError{err}}, nil //nolint:nilerr // the connection has it
		}
		return conn, nil
	}
}

// ProcessHook implements [redis.Hook]; it changes nothing.
func (d *dialer) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements [redis.Hook]; it changes nothing.
func (d *dialer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// recent returns the error of a dial that failed a moment ago.
func (d *dialer) recent(addr string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f, ok := d.failed[addr]; ok && d.now().Sub(f.at) < redialAfter {
		return f.err
	}
	return nil
}

func (d *dialer) note(addr string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.failed, addr)
		return
	}
	d.failed[addr] = failure{err, d.now()}
}

// A dialError is the error of a dial, once more: go-redis unwraps what keeps it from preparing a connection, which must not
// cost the part that says where it was dialled to.
type dialError struct{ err error }

func (e dialError) Error() string { return e.err.Error() }
func (e dialError) Unwrap() error { return e.err }

// A deadConn is a connection that could not be made. Whatever is tried with it fails with the dial's error, the check that
// go-redis makes before it takes a connection from its pool included.
type deadConn struct{ err error }

func (c deadConn) Read([]byte) (int, error)              { return 0, c.err }
func (c deadConn) Write([]byte) (int, error)             { return 0, c.err }
func (c deadConn) SyscallConn() (syscall.RawConn, error) { return nil, c.err }
func (deadConn) Close() error                            { return nil }
func (deadConn) LocalAddr() net.Addr                     { return &net.TCPAddr{} }
func (deadConn) RemoteAddr() net.Addr                    { return &net.TCPAddr{} }
func (deadConn) SetDeadline(time.Time) error             { return nil }
func (deadConn) SetReadDeadline(time.Time) error         { return nil }
func (deadConn) SetWriteDeadline(time.Time) error        { return nil }
