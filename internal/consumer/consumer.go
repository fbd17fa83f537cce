package consumer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sourcegraph/conc"
)

// A Consumer reads streams as a member of a group. It is made by [New] and runs once.
type Consumer struct {
	options Options
	loops   []*readLoop
	kill    context.CancelCauseFunc
	killed  context.Context
}

var (
	errGrace  = errors.New("the grace period ended before the current batch was finished")
	errKilled = errors.New("killed")
)

// New returns a consumer that has h handle entries. It does not reach Redis yet.
// Errors are those of the options.
func New(o Options, h Handler) (*Consumer, error) {
	err := o.check()
	if h == nil {
		err = errNoHandler
	}
	if err == nil {
		err = o.setDefaults()
	}
	if err != nil {
		return nil, fmt.Errorf("configure consumer: %w", err)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("configure consumer: %w", err)
	}
	c := &Consumer{options: o}
	c.killed, c.kill = context.WithCancelCause(context.Background())
	token := newToken()
	for _, stream := range o.Streams {
		others := &peers{client: o.Clients.Ops, stream: stream, group: o.Group, timeout: o.Timeout, own: map[string]bool{}}
		seq := newSequence(others)
		for range o.Loops {
			name := o.Consumer + "-" + strconv.Itoa(len(c.loops))
			others.own[name] = true
			c.loops = append(c.loops, newReadLoop(&c.options, h, seq, newMember(&c.options, stream, name, m.of(stream)), token))
		}
	}
	return c, nil
}

// Run reads, and has entries handled, until ctx ends. Then it reads no more, finishes and acks the
// current batches within the grace period, and leaves the group without dropping what is pending.
// It goes on whatever Redis does meanwhile. The error says that a batch could not be finished; it
// will be delivered again.
func (c *Consumer) Run(ctx context.Context) error {
	work, endWork := context.WithCancelCause(context.WithoutCancel(ctx))
	stop, endReading := context.WithCancel(ctx)
	defer endWork(nil)
	defer endReading()
	defer context.AfterFunc(c.killed, func() {
		endWork(context.Cause(c.killed))
		endReading()
	})()
	defer context.AfterFunc(stop, func() {
		pause(work, c.options.Grace)
		endWork(errGrace)
	})()
	var loops conc.WaitGroup
	for i, l := range c.loops {
		loops.Go(func() { l.run(stop, work) })
		if i%c.options.Loops == 0 { // once a stream
			loops.Go(func() { newMaintainer(&c.options, l.member).run(stop) })
		}
	}
	loops.Wait()
	if err := context.Cause(work); err != nil {
		return fmt.Errorf("stop consumer: %w", err)
	}
	return nil
}

// Kill ends Run at once: the context that Handle was called with is cancelled.
func (c *Consumer) Kill() { c.kill(errKilled) }

// A Health is the state of one read loop of a stream.
type Health struct {
	Stream string
	// Joined is true while the group is there and reads succeed.
	Joined bool
	// Progress is when the loop last began a step: zero before Run, and at most
	// Block ago unless a batch takes longer. It advances during outages too.
	Progress time.Time
}

// Health returns the state of each read loop. It is safe for concurrent use.
func (c *Consumer) Health() []Health {
	health := make([]Health, len(c.loops))
	for i, l := range c.loops {
		health[i] = Health{Stream: l.stream, Joined: l.ready.Load()}
		if ns := l.progress.Load(); ns != 0 {
			health[i].Progress = time.Unix(0, ns)
		}
	}
	return health
}

// newToken returns a value that no other process has.
func newToken() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}
