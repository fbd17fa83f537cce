package redislookup

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/pkg/checker"
)

// TestSentinel: after a failover the look-up finds the new primary, and the blocks there.
func TestSentinel(t *testing.T) {
	t.Parallel()
	env := testenv.Sentinel(t)
	f := fixture{t: t, client: connect(t, env.URL), keys: rediskey.Keys{Prefix: "ws-test-sentinel"}}
	l := f.lookup(WithPermanentTier())
	f.complete()
	f.key(made(address, "temp", time.Hour))
	f.member(made(user, "perm", 0))
	found := func() error {
		blocks, err := l.Lookup(t.Context(), all)
		if want := []string{"ip:temp", "user:perm"}; err == nil && !reflect.DeepEqual(messages(blocks), want) {
			err = fmt.Errorf("found %v, want %v", messages(blocks), want)
		}
		return err
	}
	if err := found(); err != nil {
		t.Fatal(err)
	}
	if n, err := env.Primary.Client.Wait(t.Context(), 1, time.Minute).Result(); err != nil || n != 1 {
		t.Fatalf("replicated to %d, %v", n, err)
	}
	env.FailOver(t)
	c := checker.New(l)
	testenv.Eventually(t, time.Minute, func() error { return c.Check(t.Context(), checker.Subject{User: "42"}).Err })
	if err := found(); err != nil {
		t.Fatalf("after the failover: %v", err)
	}
}
