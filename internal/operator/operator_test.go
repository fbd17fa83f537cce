package operator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/store/redisstore"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		prefix          int
		typ, value, out string // "": no scope
	}{
		{0, "ip", " 203.0.113.9 ", "203.0.113.9"},
		{0, "ip", "203.0.113.9:443", "203.0.113.9"},
		{0, "ip", "203.0.113.9/32", "203.0.113.9"},
		{0, "ip", "::ffff:203.0.113.9", "203.0.113.9"},
		{0, "ip", " 203.0.113.7/24", "203.0.113.0/24"},
		{0, "ip", "::ffff:203.0.113.0/120", "203.0.113.0/24"},
		{0, "ip", "::/0", ""},
		{0, "ip", "0.0.0.0/0", ""},
		{0, "ip", "203.0.113.0/33", ""},
		{0, "ip", "example.org", ""},
		{0, "ip", "", ""},
		{0, "ip", "2001:DB8::1", "2001:db8::1"},
		{128, "ip", "2001:db8::1%eth0", "2001:db8::1"},
		{64, "ip", "2001:db8:1:2::7", "2001:db8:1:2::/64"},
		{64, "ip", "[2001:db8:1:2::7]:443", "2001:db8:1:2::/64"},
		{64, "ip", "2001:db8:1:2::7/128", "2001:db8:1:2::/64"},
		{64, "ip", "203.0.113.9", "203.0.113.9"},
		{64, "ip", "2001:db8::7/48", "2001:db8::/48"},
		{64, "user", " 42 ", "42"},
		{64, "user", "2001:db8::7", "2001:db8::7"},
		{0, "user", "  ", ""},
		{0, "", "42", ""},
	} {
		scope, ok := Canonical(checker.Scope{Type: c.typ, Value: c.value}, c.prefix)
		if ok != (c.out != "") || scope.Value != c.out {
			t.Errorf("/%d %s %q is %v, %v; want %q", c.prefix, c.typ, c.value, scope, ok, c.out)
		}
	}
}

func redisBlocks(t *testing.T) *redisstore.Blocks {
	t.Helper()
	env := testenv.Redis(t)
	blocks, err := redisstore.NewBlocks(env.Client, redisstore.BlockOptions{Prefix: env.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

// failingSink publishes nothing.
type failingSink struct{}

var errSink = errors.New("the sink is down")

func (failingSink) Emit(context.Context, []wire.Enforcement) error { return errSink }

// TestOperatorEventNotPublished: a block or unblock whose event is not published is done all
// the same, and the error says both.
func TestOperatorEventNotPublished(t *testing.T) {
	t.Parallel()
	o := Operator{Blocks: redisBlocks(t), Sinks: failingSink{}, Scopes: Scopes{Blockable: []string{"user"}}, Now: time.Now}
	scope := checker.Scope{Type: "user", Value: "42"}
	block, err := o.Block(t.Context(), BlockRequest{Scope: scope, By: "ann"})
	if !errors.Is(err, ErrNotPublished) || !errors.Is(err, errSink) || block.Scope != scope || block.Metadata["actor"] != "ann" {
		t.Errorf("block %+v, %v", block, err)
	}
	lifted, err := o.Unblock(t.Context(), UnblockRequest{Scope: scope})
	if !errors.Is(err, ErrNotPublished) || len(lifted) != 1 {
		t.Errorf("lifted %+v, %v", lifted, err)
	}
	if lifted, err = o.Unblock(t.Context(), UnblockRequest{Scope: scope}); err != nil || len(lifted) != 0 {
		t.Errorf("lifted %+v, %v", lifted, err)
	}
}

// TestOperatorRefusesWhatIsNotAScope: routes, too, are counted and never blocked.
func TestOperatorRefusesWhatIsNotAScope(t *testing.T) {
	t.Parallel()
	o := Operator{Blocks: redisBlocks(t), Sinks: sinks.Direct{}, Now: time.Now}
	for _, scope := range []checker.Scope{{}, {Type: "route", Value: "/a"}, {Type: "ip", Value: "nonsense"}, {Type: "user", Value: " "}} {
		if _, err := o.Block(t.Context(), BlockRequest{Scope: scope, TTL: time.Minute}); !errors.Is(err, errNoScope) {
			t.Errorf("%v: %v", scope, err)
		}
	}
}
