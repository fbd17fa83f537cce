package rediskey

import (
	"strings"
	"testing"

	"github.com/wardstream/wardstream/pkg/checker"
)

func TestKeysGolden(t *testing.T) {
	t.Parallel()
	k := Keys{Prefix: DefaultPrefix}
	ip := checker.Scope{Type: checker.ScopeIP, Value: "2001:db8::1"}
	odd := checker.Scope{Type: checker.ScopeUser, Value: "a}b"}
	long := checker.Scope{Type: checker.ScopeUser, Value: strings.Repeat("v", 257)}
	kept := checker.Scope{Type: checker.ScopeUser, Value: long.Value[1:]} // 256 bytes are not too many
	const longHash = "sha256-e1beb6dcb5655844bae1abb2b29db588d1d1accbf5dd41012a423de6c71a855e"
	for got, want := range map[string]string{
		k.Block(ip):          "wardstream:block:ip:2001:db8::1",
		k.Block(odd):         "wardstream:block:user:a}b",
		k.BlockPattern():     "wardstream:block:*",
		k.Permanent():        "wardstream:blocks:permanent",
		k.Generation():       "wardstream:blocks:generation:{wardstream:blocks:permanent}",
		k.Rebuild("T"):       "wardstream:blocks:rebuild:{wardstream:blocks:permanent}:T",
		k.Changes():          "wardstream:blocks:changes",
		k.ChangesHead():      "wardstream:blocks:changes:head:{wardstream:blocks:changes}",
		k.Warm():             "wardstream:blocks:warm",
		k.Unblocked(ip):      "wardstream:unblocked:{wardstream:block:ip:2001:db8::1}",
		k.Cooldown("r", "g"): "wardstream:cooldown:r:g",
		MemberField(ip):      "ip:2001:db8::1",
		MemberField(long):    "user:" + longHash,
		MemberField(kept):    "user:" + kept.Value,
		k.Window("r:1", "g"): "wardstream:window:r:1:g",

		k.Window("r:1", long.Value): "wardstream:window:r:1:" + longHash,
	} {
		if got != want {
			t.Errorf("got key %q, want %q", got, want)
		}
	}
	if got := k.Unblocked(odd); !strings.HasPrefix(got, "wardstream:unblocked:{") || !strings.HasSuffix(got, "}:user:a}b") {
		t.Errorf("got tombstone %q", got)
	}
}

// TestLongValuesDoNotCollide: no client can choose a short name that stands for
// another's long one.
func TestLongValuesDoNotCollide(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	hashed := Value(long)
	seen := map[string]string{}
	for _, v := range []string{long, hashed, Value(hashed), strings.Repeat("x", 301), "sha256-", "sha256-short", strings.Repeat("x", 256)} {
		k := Value(v)
		if len(k) > MaxValue {
			t.Errorf("keyValue of %d bytes has %d", len(v), len(k))
		}
		if other, ok := seen[k]; ok && other != v {
			t.Errorf("%q and %q share the key %q", other, v, k)
		}
		seen[k] = v
	}
	if Value("sha256-short") != "sha256-short" {
		t.Error("a value that only begins like a hashed one was hashed")
	}
}

// TestSlots compares with what redis-cli CLUSTER KEYSLOT says.
func TestSlots(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]uint16{
		"": 0, "123456789": 12739, "foo": 12182, "{user1000}.following": 3443, "{user1000}.followers": 3443,
		"foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "foo{bar}{zap}": 5061, "a}b": slot("a}b"),
	} {
		if got := slot(key); got != want {
			t.Errorf("slot(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestSlotTagFindsEverySlot(t *testing.T) {
	t.Parallel()
	for n := range uint16(slots) {
		tag := slotTag(n)
		if tag == "" || strings.ContainsAny(tag, "{}") || crc16(0, tag)%slots != n {
			t.Fatalf("slotTag(%d) = %q, in slot %d", n, tag, crc16(0, tag)%slots)
		}
	}
}

// TestTombstoneIsInTheBlocksSlot: a script may touch both.
func TestTombstoneIsInTheBlocksSlot(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"wardstream", "{ws}", "a{b}c", "sec_audit"} {
		k := Keys{Prefix: prefix}
		tombstones := map[string]string{}
		for _, v := range []string{
			"x", "a:b", "a}b", "{a}b", "{}x", "{", "}", "a{b}c{d}", "}{", "{{a}}", "{}", "{}{x}", "{a", "a{}b}", strings.Repeat("}", 300),
		} {
			s := checker.Scope{Type: "user", Value: v}
			if b, u := slot(k.Block(s)), slot(k.Unblocked(s)); b != u {
				t.Errorf("prefix %q, value %q: block in slot %d, tombstone %q in %d", prefix, v, b, k.Unblocked(s), u)
			}
			if other, ok := tombstones[k.Unblocked(s)]; ok {
				t.Errorf("prefix %q: %q and %q share a tombstone", prefix, v, other)
			}
			tombstones[k.Unblocked(s)] = v
		}
		h := slot(k.Permanent())
		if slot(k.Generation()) != h || slot(k.Rebuild("x")) != h {
			t.Errorf("prefix %q: generation or rebuild isn't in the membership hash's slot", prefix)
		}
		if slot(k.ChangesHead()) != slot(k.Changes()) {
			t.Errorf("prefix %q: the head of changes isn't in their slot", prefix)
		}
	}
}

func FuzzTombstoneSlot(f *testing.F) {
	f.Add("a}b")
	f.Add("{}")
	f.Fuzz(func(t *testing.T, value string) {
		s := checker.Scope{Type: "user", Value: value}
		for _, prefix := range []string{"wardstream", "{ws}"} {
			k := Keys{Prefix: prefix}
			if slot(k.Block(s)) != slot(k.Unblocked(s)) {
				t.Fatalf("%q: tombstone %q isn't in the slot of %q", value, k.Unblocked(s), k.Block(s))
			}
		}
	})
}

func TestCheckPrefix(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{
		"wardstream": true, "sec_audit": true, "{ws}": true, "a{b}c": true, "team-1/prod:ws.x": true,
		"": false, "a b": false, "a*": false, "{": false, "}": false, "{}": false, "{a}{b}": false, "a\x00": false, "é": false,
		"a{b}c}": false, "x[1]": false, strings.Repeat("x", 129): false, "?": false,
	} {
		if err := CheckPrefix(prefix); (err == nil) != ok {
			t.Errorf("CheckPrefix(%q) = %v", prefix, err)
		}
	}
}
