package redisconn

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redialAfter is how long the error of a failed dial is returned without dialing again.
const redialAfter = 25 * time.Millisecond

// A dialer is a hook that turns a failed dial into a connection on which every operation fails.
// go-redis counts failed dials, and once there are as many as connections in its pool it returns
// the last error for up to a second without dialing.
type dialer struct {
	now func() time.Time

	mu     sync.Mutex
	failed map[string]failure // by address
}

// A failure is the error of the last dial of an address.
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

// recent returns the error of a dial that failed less than redialAfter ago.
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

// A dialError wraps the error of a dial. go-redis unwraps errors of preparing a connection once;
// the wrapper keeps the part of the message with the address.
type dialError struct{ err error }

func (e dialError) Error() string { return e.err.Error() }
func (e dialError) Unwrap() error { return e.err }

// A deadConn stands for a connection that could not be made. Every operation on it fails with the
// dial's error, including go-redis' check of pooled connections.
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
