package wire

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/pkg/checker"
)

var updateBlocks = flag.Bool("update-blocks", false, "write the golden files of block values")

func goldenBlocks() map[string]checker.Block {
	at := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC)
	return map[string]checker.Block{
		"temporary": {
			ID: "5f0e", Scope: checker.Scope{Type: "ip", Value: "203.0.113.7"}, Reason: "Repeated login failures detected",
			Rule: "brute_force_login", StatusCode: 429, Message: DefaultMessage, CreatedAt: at, ExpiresAt: at.Add(5 * time.Minute),
			Metadata: map[string]any{"failure_count": 5, "username": "alice"},
		},
		"permanent": {
			ID: "5f0f", Scope: checker.Scope{Type: "user", Value: "42"}, Reason: "r", Rule: "sensitive_field_change",
			StatusCode: 403, Message: "m", CreatedAt: at.Truncate(time.Second), Metadata: map[string]any{"changed_fields": []string{"email"}},
		},
		"odd":     {Scope: checker.Scope{Type: "user", Value: "Ünï\"x<&>\n"}, Message: "\u2028"},
		"minimal": {Scope: checker.Scope{Type: "ip", Value: "203.0.113.7"}},
	}
}

// TestBlockGolden holds the bytes that other software, and the scripts, read.
func TestBlockGolden(t *testing.T) {
	t.Parallel()
	for name, b := range goldenBlocks() {
		for kind, encode := range map[string]func(checker.Block) ([]byte, error){"block": EncodeBlock, "copy": EncodeCopy} {
			got, err := encode(b)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "block", name+"."+kind+".json")
			if *updateBlocks {
				if err := os.WriteFile(path, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got)+"\n" != string(want) {
				t.Errorf("%s %s:\n%s\nwant\n%s", kind, name, got, want)
			}
			if IsCopy(string(got)) != (kind == "copy" && b.Permanent()) {
				t.Errorf("IsCopy(%s) = %v", got, IsCopy(string(got)))
			}
		}
	}
}

func TestBlockRoundTrip(t *testing.T) {
	t.Parallel()
	for name, b := range goldenBlocks() {
		raw, err := EncodeBlock(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBlock(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := EncodeBlock(got)
		if err != nil || string(again) != string(raw) {
			t.Errorf("%s: decoded and encoded again:\n%s\nwant\n%s", name, again, raw)
		}
	}
}

func TestEncodeBlockRefuses(t *testing.T) {
	t.Parallel()
	for _, id := range []string{`"`, `\`, "\n", "é", "<", strings.Repeat("x", 257)} {
		if raw, err := EncodeBlock(checker.Block{ID: id}); err == nil {
			t.Errorf("EncodeBlock with ID %q = %s", id, raw)
		}
	}
	if _, err := EncodeBlock(checker.Block{Metadata: map[string]any{"x": func() {}}}); err == nil {
		t.Error("EncodeBlock wrote a function")
	}
}

func TestIsCopyRejectsForgery(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "x", `{"scope_type":"user","until":0,"flags":"c"}`, `{"id":"","created_at":null,"until":05,"flags":"c",`,
		`{"id":"","created_at":null,"until":0,"flags":"b","x":"c"}`, `{"id":"","created_at":null,"until":10,"flags":"c","x":0}`,
	} {
		if IsCopy(raw) {
			t.Errorf("IsCopy(%s)", raw)
		}
	}
}

// storeVectors is what the Python library's stores write and read.
type storeVectors struct {
	Cases []struct {
		Name       string
		RedisAfter json.RawMessage `json:"redis_after"`
	}
	Keys   struct{ Block, Warm string }
	Reader []struct {
		Name, Payload string
		Read          struct {
			Error      string
			Scope      [2]string
			StatusCode int `json:"status_code"`
			Message    string
			RuleName   string `json:"rule_name"`
			Reason     string
			CreatedAt  *string        `json:"created_at"`
			ExpiresAt  *string        `json:"expires_at"`
			Metadata   map[string]any `json:"metadata"`
		} `json:"read_as_py311"`
	} `json:"reader_tolerance"`
}

func readStoreVectors(t *testing.T) storeVectors {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "store_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v storeVectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cases) != 25 || len(v.Reader) != 24 {
		t.Fatalf("%d cases and %d payloads, want 25 and 24", len(v.Cases), len(v.Reader))
	}
	return v
}

// TestStoreVectorReader: we read what the Python library's reader does, and
// nothing else.
func TestStoreVectorReader(t *testing.T) {
	t.Parallel()
	for _, v := range readStoreVectors(t).Reader {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			b, err := DecodeBlock([]byte(v.Payload))
			want := v.Read
			if (err != nil) != (want.Error != "") {
				t.Fatalf("DecodeBlock = %+v, %v; Python: %q", b, err, want.Error)
			}
			if err != nil {
				return
			}
			if b.Scope.Type != want.Scope[0] || b.Scope.Value != want.Scope[1] || b.StatusCode != want.StatusCode ||
				b.Message != want.Message || b.Rule != want.RuleName || b.Reason != want.Reason {
				t.Errorf("DecodeBlock = %+v, want %+v", b, want)
			}
			sameTime(t, b.CreatedAt, want.CreatedAt)
			sameTime(t, b.ExpiresAt, want.ExpiresAt)
			if g, w := asJSON(t, b.Metadata), asJSON(t, want.Metadata); g != w && !(g == "null" && w == "{}") {
				t.Errorf("metadata %s, want %s", g, w)
			}
		})
	}
}

func sameTime(t *testing.T, got time.Time, want *string) {
	t.Helper()
	if want == nil {
		if !got.IsZero() {
			t.Errorf("time %v, want none", got)
		}
		return
	}
	if at, err := time.Parse(time.RFC3339Nano, *want); err != nil || !got.Equal(at) {
		t.Errorf("time %v, want %s", got, *want)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestStoreVectorKeys(t *testing.T) {
	t.Parallel()
	v, k := readStoreVectors(t), rediskey.Keys{Prefix: "sec_audit"}
	s := checker.Scope{Type: "{scope_type}", Value: "{scope_value}"}
	if k.Block(s) != v.Keys.Block || k.Warm() != v.Keys.Warm {
		t.Errorf("keys %q and %q, want %q and %q", k.Block(s), k.Warm(), v.Keys.Block, v.Keys.Warm)
	}
}

// TestStoreVectorValues: every block value in Redis decodes to what it says,
// under the key where we look for it.
func TestStoreVectorValues(t *testing.T) {
	t.Parallel()
	read := 0
	for _, c := range readStoreVectors(t).Cases {
		var keys map[string]struct{ Value, Type string }
		if json.Unmarshal(c.RedisAfter, &keys) != nil {
			continue // omitted there, or no strings
		}
		for key, entry := range keys {
			if !strings.HasPrefix(key, "sec_audit:block:") {
				continue
			}
			read++
			b, err := DecodeBlock([]byte(entry.Value))
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			if got := (rediskey.Keys{Prefix: "sec_audit"}).Block(b.Scope); got != key {
				t.Errorf("%s: block of key %q would be looked for at %q", c.Name, key, got)
			}
			var plain struct {
				Reason    string         `json:"reason"`
				RuleName  string         `json:"rule_name"`
				Status    int            `json:"status_code"`
				Message   string         `json:"message"`
				CreatedAt string         `json:"created_at"`
				ExpiresAt string         `json:"expires_at"`
				Metadata  map[string]any `json:"metadata"`
			}
			if err := json.Unmarshal([]byte(entry.Value), &plain); err != nil {
				t.Fatal(err)
			}
			if b.Reason != plain.Reason || b.Rule != plain.RuleName || b.StatusCode != plain.Status || b.Message != plain.Message ||
				FormatTime(b.CreatedAt) != plain.CreatedAt || FormatTime(b.ExpiresAt) != plain.ExpiresAt ||
				asJSON(t, b.Metadata) != asJSON(t, plain.Metadata) {
				t.Errorf("%s: %+v, want %+v", c.Name, b, plain)
			}
		}
	}
	if read < 15 {
		t.Fatalf("only %d block values were read", read)
	}
}

// TestTimesAreReadableByPython310: Python 3.10 reads microseconds or none, with an offset.
func TestTimesAreReadableByPython310(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("x", 3600))
	for nanos, want := range map[int]string{
		0: "2026-01-01T00:00:00+00:00", 1: "2026-01-01T00:00:00+00:00", 1000: "2026-01-01T00:00:00.000001+00:00",
		123456789: "2026-01-01T00:00:00.123456+00:00", 120000000: "2026-01-01T00:00:00.120000+00:00",
	} {
		if got := FormatTime(at.Add(time.Duration(nanos))); got != want {
			t.Errorf("FormatTime of %d ns = %s, want %s", nanos, got, want)
		}
	}
}

// FuzzDecodeBlock: whatever stands at a block's key is a block or an error, and
// a block that was read can be written and read again to the same.
func FuzzDecodeBlock(f *testing.F) {
	for _, b := range goldenBlocks() {
		raw, err := EncodeBlock(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, seed := range []string{
		`[]`, `null`, `{"scope_type":"ip"}`, `{"scope_type":"ip","scope_value":"x","status_code":"429.5"}`,
		`{"scope_type":1e2,"scope_value":true,"status_code":1e400,"metadata":{"a":[{}]},"created_at":"2026-01-01 00:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := DecodeBlock(raw)
		if err != nil {
			return
		}
		if b.Scope.Type == "" || b.Scope.Value == "" || b.Message == "" || b.StatusCode < 100 || b.StatusCode > 999 || !ValidBlockID(b.ID) {
			t.Fatalf("DecodeBlock(%q) = %+v", raw, b)
		}
		if y := b.CreatedAt.Year(); y < 0 || y > 9999 {
			t.Fatalf("year %d", y)
		}
		again, err := EncodeBlock(b)
		if err != nil {
			t.Fatalf("EncodeBlock: %v", err)
		}
		second, err := DecodeBlock(again)
		if err != nil {
			t.Fatalf("DecodeBlock(%s): %v", again, err)
		}
		if len(b.Metadata) == 0 {
			b.Metadata, second.Metadata = nil, nil
		}
		if !reflect.DeepEqual(b, second) {
			t.Fatalf("%q: %+v, read again %+v", raw, b, second)
		}
	})
}

// FuzzDecodeMember: whatever stands in the membership hash is a block or an error.
func FuzzDecodeMember(f *testing.F) {
	f.Add([]byte(`{"s":403,"r":"x","m":"no","e":1700000000123,"i":"e1"}`))
	f.Add([]byte(`{"e":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := DecodeMember(checker.Scope{Type: "ip", Value: "x"}, raw)
		if err == nil && (b.StatusCode < 100 || b.StatusCode > 999 || b.Message == "") {
			t.Fatalf("DecodeMember(%q) = %+v", raw, b)
		}
	})
}
