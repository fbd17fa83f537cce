package chaos

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// unblockSome has an operator unblock an address or a user, in the middle of it all, if any are
// blocked. The returned function waits until it is done: what fails is tried again, as an operator
// does after an error. Whatever is delivered again from then on, they stay so.
func (w *world) unblockSome(ctx context.Context, round int, random *rand.Rand) (done func()) {
	kind := []string{"ip:", "user:"}[round%2]
	blocked := slices.DeleteFunc(slices.Sorted(maps.Keys(w.oracle.scopes)), func(name string) bool {
		s := w.oracle.scopes[name]
		return !strings.HasPrefix(name, kind) || !s.must || s.unblocked
	})
	if len(blocked) == 0 {
		return func() {}
	}
	// Mostly a recent client, whose entries the stream still has.
	name := blocked[len(blocked)-1-random.IntN(min(len(blocked), 20))]
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for {
			_, err := w.command("unblock", strings.TrimSuffix(kind, ":"), strings.TrimPrefix(name, kind), "--reason", "chaos")
			var exit *exec.ExitError
			if err == nil || errors.As(err, &exit) && exit.ExitCode() == 1 { // Redis may have lost the block
				break
			}
			w.line.add("an operator can't unblock %s: %v", name, err)
			if ctx.Err() != nil {
				w.fail("%v", err)
				return
			}
			wait(200 * time.Millisecond)
		}
		w.line.add("an operator unblocks %s", name)
		w.publishing.Lock()
		defer w.publishing.Unlock()
		if s := w.oracle.scopes[name]; s != nil { // Redis may have lost it
			s.unblocked = true
		}
	}()
	return func() { <-finished }
}
