package storetest

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

// oddScopes are unusual values that users may choose for their names.
func oddScopes() []checker.Scope {
	hashed := "sha256-" + strings.Repeat("0123456789abcdef", 4)
	var out []checker.Scope
	for _, value := range []string{
		"a:b", "a_b", "a}b", "{a}b", "{}x", "{", "}", "a{b}c{d}", "}{", "{{a}}", "2001:db8::1", "Ünï\"x", "日本語", "a\nb", "a\tb", "a b",
		"'; DROP TABLE x; --", `\`, `"id":"`, `{"id":"x","created_at":null,"until":0,"flags":"c",`, "%s%d", "*", "?[a]", "complete",
		strings.Repeat("v", 256), strings.Repeat("v", 257), strings.Repeat("v", 2000), strings.Repeat("{", 300), hashed, "\u2028", "a\x7fb", "\U0001F600",
	} {
		out = append(out, scope(value))
	}
	return append(out,
		checker.Scope{Type: checker.ScopeUsername, Value: "a:b"}, checker.Scope{Type: "tenant", Value: "a}b"},
		checker.Scope{Type: "us", Value: "er:a:b"})
}

func (s *suite) oddValues(t *testing.T) {
	at := s.base()
	scopes := oddScopes()
	for round, put := range makers() {
		puts := make([]store.Put, len(scopes))
		for i, sc := range scopes {
			sc.Value = round[:1] + sc.Value
			puts[i] = put(sc, fmt.Sprintf("id%d", i), at)
		}
		for i, r := range s.put(t, puts...) {
			if r.Err != nil || r.Outcome != store.Began {
				t.Fatalf("%s %q: outcome %d, error %v", round, puts[i].Block.Scope, r.Outcome, r.Err)
			}
		}
		for _, p := range puts {
			s.holds(t, p.Block)
			if lifted := s.unblock(t, p.Block.Scope, at); len(lifted) != 1 {
				t.Fatalf("Unblock(%q) lifted %+v", p.Block.Scope, lifted)
			}
			s.free(t, p.Block.Scope)
			s.put1(t, p, store.Unblocked)
		}
	}
}

func (s *suite) nul(t *testing.T) {
	at := s.base()
	for kind, put := range makers() {
		before, nul, after := put(scope("before"+kind), "a", at), put(scope("a\x00"+kind), "b", at), put(scope("after"+kind), "c", at)
		results := s.put(t, before, nul, after)
		s.holds(t, before.Block)
		s.holds(t, after.Block)
		if r := results[1]; !unstorable(r) && (r.Err != nil || r.Outcome != store.Began) {
			t.Fatalf("Put with NUL: %+v", r)
		} else if r.Err == nil {
			s.holds(t, nul.Block)
		}
		s.unblock(t, nul.Block.Scope, at)
		s.free(t, nul.Block.Scope)
	}
}

func (s *suite) metadata(t *testing.T) {
	at := s.base()
	for kind, put := range makers() {
		p := put(scope(kind), "a", at)
		p.Block.Metadata = map[string]any{
			"count": json.Number("12345678901234567890"), "ratio": json.Number("2.50"), "ok": true, "none": nil,
			"list": []any{json.Number("1"), "two", map[string]any{"three": []any{}}}, "text": "a\"b\\c\u2028<&>",
			"until": json.Number("0"), "flags": "cb", "expires_at": nil, "enforcement.rule": "x",
		}
		p.Block.Reason = strings.Repeat("r", 3000)
		s.put1(t, p, store.Began)
		s.holds(t, p.Block)
		odd := put(scope(kind+"odd"), "b", at)
		odd.Block.Metadata = map[string]any{"a\x00b": "c\x00d", `\u0000`: `\\u0000`}
		odd.Block.Reason, odd.Block.Message, odd.Block.Rule = "a\x00b", "c\xffd", "e\x00"
		if r := s.put(t, odd)[0]; r.Err != nil || r.Outcome != store.Began {
			t.Fatalf("Put with odd descriptions: %+v", r)
		}
		if len(s.lookup(t, odd.Block.Scope)) != 1 {
			t.Fatal("a block with odd descriptions isn't found")
		}
	}
}

func (s *suite) defaults(t *testing.T) {
	for i, p := range []store.Put{
		{Block: checker.Block{Scope: scope("1"), ExpiresAt: s.Now().Add(time.Hour)}},
		{Block: checker.Block{Scope: scope("2"), StatusCode: 7}},
		{Block: checker.Block{Scope: scope("3"), StatusCode: 70000, ExpiresAt: s.Now().Add(time.Hour)}, EvidenceTime: s.base()},
	} {
		s.put1(t, p, store.Began)
		b := s.lookup(t, p.Block.Scope)
		if len(b) != 1 || b[0].StatusCode != wire.DefaultStatus || b[0].Message != wire.DefaultMessage {
			t.Errorf("case %d: Lookup = %+v", i, b)
		}
	}
}

func (s *suite) unstorableHoldsNobodyUp(t *testing.T) {
	at := s.base()
	good := func(i int) store.Put { return permanent(scope(fmt.Sprint("good", i)), "a", at) }
	var bad []store.Put
	for _, sc := range []checker.Scope{{}, {Type: "user"}, {Value: "x"}, {Type: "user", Value: " \n"}, {Type: "a:b", Value: "x"}} {
		bad = append(bad, temporary(sc, "a", at, time.Hour), permanent(sc, "a", at))
	}
	for _, id := range []string{`a"b`, `a\b`, "a\nb", "é", strings.Repeat("x", 1000)} {
		bad = append(bad, temporary(scope("x"), id, at, time.Hour))
	}
	nan := permanent(scope("nan"), "a", at)
	nan.Block.Metadata = map[string]any{"x": math.NaN()}
	far := permanent(scope("far"), "a", at)
	far.Block.ExpiresAt = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
	bad = append(bad, far, nan)
	var puts []store.Put
	for i, b := range bad {
		puts = append(puts, b, good(i))
	}
	for i, r := range s.put(t, puts...) {
		if i%2 == 1 {
			s.holds(t, puts[i].Block)
		} else if !unstorable(r) {
			t.Errorf("Put of %+v: %+v, want ErrUnstorable", puts[i], r)
		}
	}
}
