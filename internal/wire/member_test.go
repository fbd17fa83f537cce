package wire

import (
	"testing"
	"time"

	"github.com/wardstream/wardstream/pkg/checker"
)

func TestMemberRoundTrip(t *testing.T) {
	t.Parallel()
	scope := checker.Scope{Type: checker.ScopeUser, Value: "42"}
	cases := map[string]struct {
		block checker.Block
		raw   string
	}{
		"the usual is left out": {
			checker.Block{Scope: scope, StatusCode: DefaultStatus, Message: DefaultMessage},
			`{}`,
		},
		"everything": {
			checker.Block{
				ID: "e1", Scope: scope, Rule: "brute_force_login", StatusCode: 403, Message: "no",
				ExpiresAt: time.UnixMilli(1700000000123).UTC(),
			},
			`{"s":403,"r":"brute_force_login","m":"no","e":1700000000123,"i":"e1"}`,
		},
		"the epoch is an expiry, not permanence": {
			checker.Block{Scope: scope, StatusCode: DefaultStatus, Message: DefaultMessage, ExpiresAt: time.UnixMilli(0).UTC()},
			`{"e":0}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := EncodeMember(tc.block)
			if err != nil || string(raw) != tc.raw {
				t.Fatalf("EncodeMember = %s, %v; want %s", raw, err, tc.raw)
			}
			got, err := DecodeMember(scope, raw)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != tc.block.ID || got.Scope != scope || got.Rule != tc.block.Rule || got.StatusCode != tc.block.StatusCode ||
				got.Message != tc.block.Message || !got.ExpiresAt.Equal(tc.block.ExpiresAt) || got.Permanent() != tc.block.Permanent() {
				t.Fatalf("DecodeMember = %+v, want %+v", got, tc.block)
			}
		})
	}
}

func TestMemberZeroBlockDecodesToDefaults(t *testing.T) {
	t.Parallel()
	raw, err := EncodeMember(checker.Block{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := DecodeMember(checker.Scope{Type: "ip", Value: "203.0.113.9"}, raw)
	if err != nil || b.StatusCode != DefaultStatus || b.Message != DefaultMessage || !b.Permanent() {
		t.Fatalf("got %+v, %v", b, err)
	}
}

func TestMemberGarbageIsAnError(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "1", "[]", "null garbage", `{"s":7}`, `{"s":"x"}`, `{"e":"soon"}`, `{"e":1e30}`, "\x00\xff"} {
		if b, err := DecodeMember(checker.Scope{Type: "ip", Value: "203.0.113.9"}, []byte(raw)); err == nil {
			t.Errorf("DecodeMember(%q) = %+v, want an error", raw, b)
		}
	}
}
