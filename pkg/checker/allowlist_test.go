package checker_test

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"testing"

	"github.com/wardstream/wardstream/pkg/checker"
)

// found is a Lookup that finds these blocks whatever it is asked.
type found []checker.Block

func (f found) Lookup(context.Context, []checker.Scope) ([]checker.Block, error) { return f, nil }
func (found) HonoursDeadline() bool                                              { return true }

func blockOf(typ, value string) checker.Block {
	return checker.Block{Scope: checker.Scope{Type: typ, Value: value}}
}

func TestAllowlistIsNeverDenied(t *testing.T) {
	t.Parallel()
	list, err := checker.ParseAllowlist([]string{" 203.0.113.9", "10.0.0.0/8", "ip:198.51.100.7", "::ffff:192.0.2.0/120", "2001:db8:a:b::7", "user:1", "session:a:b"})
	if err != nil {
		t.Fatal(err)
	}
	subject := func(ip string) checker.Subject {
		return checker.Subject{IP: netip.MustParseAddr(ip), User: "1", Session: "a:b", Username: "eve"}
	}
	for name, c := range map[string]struct {
		subject checker.Subject
		block   checker.Block
		denied  bool
	}{
		"an address":                          {subject("203.0.113.9"), blockOf("ip", "203.0.113.9"), false},
		"an address in a blocked range":       {subject("203.0.113.9"), blockOf("ip", "203.0.113.0/24"), false},
		"its neighbour in the range":          {subject("203.0.113.10"), blockOf("ip", "203.0.113.0/24"), true},
		"an address of a range":               {subject("10.9.8.7"), blockOf("ip", "10.9.8.7"), false},
		"a mapped address":                    {subject("::ffff:10.9.8.7"), blockOf("ip", "10.9.8.0/24"), false},
		"an address of a mapped range":        {subject("192.0.2.200"), blockOf("ip", "192.0.2.200"), false},
		"an address with ip before it":        {subject("198.51.100.7"), blockOf("ip", "198.51.100.7"), false},
		"an IPv6 address in a blocked prefix": {subject("2001:db8:a:b::7"), blockOf("ip", "2001:db8:a:b::/64"), false},
		"its neighbour in the prefix":         {subject("2001:db8:a:b::8"), blockOf("ip", "2001:db8:a:b::/64"), true},
		"a user":                              {subject("198.51.100.99"), blockOf("user", "1"), false},
		"a session with a colon":              {subject("198.51.100.99"), blockOf("session", "a:b"), false},
		"a user name not listed":              {subject("203.0.113.9"), blockOf("username", "eve"), true},
		"the address of a user on the list":   {subject("198.51.100.99"), blockOf("ip", "198.51.100.99"), true},
	} {
		d := checker.New(found{c.block}, checker.WithAllowlist(list)).Check(t.Context(), c.subject)
		if d.Blocked != c.denied || d.Err != nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	both := found{blockOf("ip", "203.0.113.9"), blockOf("username", "eve")} // what is not exempt still denies
	if d := checker.New(both, checker.WithAllowlist(list)).Check(t.Context(), subject("203.0.113.9")); !d.Blocked || d.Block.Scope.Type != "username" {
		t.Errorf("two blocks: %+v", d)
	}
	if len(both) != 2 || both[0].Scope.Type != "ip" {
		t.Errorf("the look-up's blocks were changed: %v", both)
	}
	var none *checker.Allowlist
	if d := checker.New(both, checker.WithAllowlist(none)).Check(t.Context(), subject("203.0.113.9")); !d.Blocked {
		t.Error("an empty allowlist exempts")
	}
	never := func(*checker.Subject, *checker.Block) bool { return false }
	if d := checker.New(found{both[0]}, checker.WithAllowlist(list), checker.WithExempt(never)).Check(t.Context(), subject("203.0.113.9")); d.Blocked {
		t.Error("one option takes another's exemption back")
	}
}

func TestAllowlistIsNotAFailMode(t *testing.T) {
	t.Parallel()
	list, err := checker.ParseAllowlist([]string{"203.0.113.9"})
	if err != nil {
		t.Fatal(err)
	}
	c := checker.New(found{}, checker.WithAllowlist(list), checker.WithFailClosed(regexp.MustCompile("^/pay")))
	if d := c.Fail(t.Context(), checker.Subject{IP: netip.MustParseAddr("203.0.113.9"), Path: "/pay"}, errors.New("down")); !d.Blocked {
		t.Errorf("%+v", d)
	}
}

func TestParseAllowlistRefuses(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"", "localhost", "10.0.0.0/33", "10.0.0", "user:", ":1", "a b:1", "ip:x"} {
		if _, err := checker.ParseAllowlist([]string{"10.0.0.1", entry}); err == nil {
			t.Errorf("%q is accepted", entry)
		}
	}
}
