package wire

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestReadPosition(t *testing.T) {
	t.Parallel()
	p, err := ReadPosition("E 7 5-0")
	if want := (Position{Epoch: "E", Seq: 7, ID: "5-0"}); err != nil || p != want {
		t.Errorf("ReadPosition = %+v, %v", p, err)
	}
	for _, bad := range []string{"", "E", "E 7", "E x 5-0", "E 0 5-0", "E -1 5-0", " 7 5-0", "E 7 ", "E 7 5-0 x"} {
		if p, err := ReadPosition(bad); err == nil || p != (Position{}) {
			t.Errorf("ReadPosition(%q) = %+v, %v", bad, p, err)
		}
	}
}

func TestReadChange(t *testing.T) {
	t.Parallel()
	values := map[string]any{
		"epoch": "E", "seq": "2", "prev": "1-0", "later": "x",
		"0": "ip:2001:db8::/64", "1": AllChanged, "2": "user:" + "sha256-" + strings.Repeat("0", 64), "3": "nothing", "4": "user:a b",
	}
	c, err := ReadChange("2-0", values)
	if err != nil || c.At != (Position{Epoch: "E", Seq: 2, ID: "2-0"}) || c.Prev != "1-0" || !c.All ||
		!slices.Equal(c.Scopes, []checker.Scope{{Type: "ip", Value: "2001:db8::/64"}, {Type: "user", Value: "a b"}}) {
		t.Errorf("ReadChange = %+v, %v", c, err)
	}
	for _, missing := range []string{"epoch", "seq", "prev"} {
		broken := map[string]any{"epoch": "E", "seq": "2", "prev": "1-0"}
		delete(broken, missing)
		if _, err := ReadChange("2-0", broken); err == nil {
			t.Errorf("without %s there is no error", missing)
		}
	}
}

func TestFollows(t *testing.T) {
	t.Parallel()
	at := Position{Epoch: "E", Seq: 1, ID: "1-0"}
	for name, tc := range map[string]struct {
		change Change
		after  Position
		want   bool
	}{
		"the next":               {Change{At: Position{"E", 2, "2-0"}, Prev: "1-0"}, at, true},
		"the first of all":       {Change{At: Position{"E", 1, "1-0"}}, Position{}, true},
		"the first, with an end": {Change{At: Position{"E", 1, "9-0"}}, Position{ID: "8-0"}, true},
		"one is missing":         {Change{At: Position{"E", 3, "3-0"}, Prev: "2-0"}, at, false},
		"a new epoch":            {Change{At: Position{"F", 1, "2-0"}}, at, false},
		"another with its number: entries were lost in a failover": {Change{At: Position{"E", 2, "3-0"}, Prev: "0-9"}, at, false},
		"the first seen isn't the first":                           {Change{At: Position{"E", 2, "2-0"}, Prev: "1-0"}, Position{}, false},
	} {
		if got := tc.change.Follows(tc.after); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// FuzzChange: what a writer names, a reader reads, unless a hash stands for it; garbage is an error
// or nothing.
func FuzzChange(f *testing.F) {
	f.Add("user", "42", "1", "E 1 1-0")
	f.Add("ip", "2001:db8::/64", "x", "")
	f.Add("a", "*", "-1", "  ")
	f.Add("*", "sha256-"+strings.Repeat("f", 64), "9223372036854775808", "E 01 x")
	f.Fuzz(func(t *testing.T, typ, value, seq, head string) {
		scope := checker.Scope{Type: typ, Value: value}
		fields := ChangedFields([]checker.Scope{scope, scope})
		if len(fields) != 1 {
			t.Fatalf("fields %q", fields)
		}
		c, err := ReadChange("1-0", map[string]any{"epoch": "E", "seq": seq, "prev": "", "0": fields[0]})
		n, bad := strconv.ParseInt(seq, 10, 64)
		if wrong := bad != nil || n < 1; wrong != (err != nil) {
			t.Fatalf("seq %q: %v", seq, err)
		}
		if plain := typ != "" && value != "" && !strings.Contains(typ, ":") && !rediskey.Hashed(value); err == nil && plain && !slices.Equal(c.Scopes, []checker.Scope{scope}) {
			t.Errorf("%q came back as %q", scope, c.Scopes)
		}
		if p, err := ReadPosition(head); err == nil && (p.Epoch == "" || p.ID == "" || p.Seq < 1) {
			t.Errorf("ReadPosition(%q) = %+v", head, p)
		}
	})
}
