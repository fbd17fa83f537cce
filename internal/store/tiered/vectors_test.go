package tiered_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/store"
	"github.com/wardstream/wardstream/internal/store/tiered"
	"github.com/wardstream/wardstream/pkg/checker"
)

// python310 are the times that Python 3.10's fromisoformat reads.
var python310 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?\+00:00$`)

// TestStoreVectorWrites: what the library writes for a block, we write so that
// its readers see the same block, for the same time.
func TestStoreVectorWrites(t *testing.T) {
	t.Parallel()
	cases := storeCases(t)
	for name, how := range map[string]struct {
		permanent, durable bool
		ttl                time.Duration
	}{
		"temp_block_ip":                    {false, true, time.Hour},
		"temp_block_ipv6_key":              {false, true, time.Hour},
		"temp_block_whole_second":          {false, true, time.Hour},
		"temp_block_unicode":               {false, true, time.Hour},
		"permanent_block_user":             {true, true, time.Hour},
		"permanent_block_custom_cache_ttl": {true, true, 10 * time.Minute},
		"permanent_block_no_pg":            {true, false, time.Hour},
		"redis_store_none_ttl":             {true, false, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cases[name]
			r := newPythonRig(t, c.At, how.ttl, how.durable)
			var result pythonBlock
			if err := json.Unmarshal(c.Result, &result); err != nil {
				t.Fatal(err)
			}
			const warm = "sec_audit:blocks:warm"
			if err := r.client.Set(t.Context(), warm, `{"v":2,"members":[]}`, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			put(t, r, result.put(t, how.permanent), store.Began)
			if left := r.client.Exists(t.Context(), warm).Val(); how.durable && how.permanent == (left == 1) {
				t.Errorf("%d sentinels are left", left)
			}
			for key, want := range c.Redis {
				checkWritten(t, r, key, want, how.permanent)
			}
			sameRows(t, r.rows(t), c.Rows)
		})
	}
}

// checkWritten compares our key with the library's.
func checkWritten(t *testing.T, r *pythonRig, key string, want pythonKey, permanent bool) {
	t.Helper()
	value, err := r.client.Get(t.Context(), key).Result()
	if err != nil {
		t.Fatalf("key %q: %v", key, err)
	}
	if left := r.client.PTTL(t.Context(), key).Val(); left.Milliseconds() != want.PTTL {
		t.Errorf("key %q lives %v, want %d ms", key, left, want.PTTL)
	}
	var got, theirs map[string]any
	if json.Unmarshal([]byte(value), &got) != nil || json.Unmarshal(want.JSON, &theirs) != nil {
		t.Fatalf("value %s isn't JSON", value)
	}
	for member, v := range theirs {
		if member == "expires_at" && permanent { // theirs is the copy's; ours says that there is no end
			v = nil
		}
		if !reflect.DeepEqual(got[member], v) {
			t.Errorf("member %q is %v, want %v", member, got[member], v)
		}
	}
	for _, member := range []string{"created_at", "expires_at"} {
		if text, ok := got[member].(string); ok && !python310.MatchString(text) {
			t.Errorf("Python 3.10 can't read %s %q", member, text)
		}
	}
}

// TestStoreVectorReads: whatever the library left in the stores, we see.
func TestStoreVectorReads(t *testing.T) {
	t.Parallel()
	read := 0
	for name, c := range storeCases(t) {
		if c.RawRedis[0] != '{' || len(c.Redis)+len(c.Rows) == 0 || strings.HasPrefix(name, "counter") || strings.HasPrefix(name, "history") {
			continue // omitted there, nothing, or not blocks
		}
		read++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newPythonRig(t, c.At, time.Hour, true)
			r.load(t, c)
			want := map[checker.Scope]string{}
			for _, row := range c.Rows {
				if row.RevokedAt == nil {
					want[row.scope()] = row.RuleName
				}
			}
			for key, k := range c.Redis {
				var b pythonBlock
				if strings.Contains(key, ":block:") {
					if err := json.Unmarshal(k.JSON, &b); err != nil {
						t.Fatal(err)
					}
					want[b.scope()] = b.RuleName
				}
			}
			for scope, rule := range want {
				found, err := r.Lookup(t.Context(), []checker.Scope{scope})
				if err != nil || len(found) != 1 || found[0].Rule != rule || found[0].Scope != scope {
					t.Errorf("Lookup(%q) = %+v, %v, want rule %q", scope, found, err, rule)
				}
			}
			blocks, err := r.List(t.Context(), 0)
			if err != nil || len(blocks) != len(want) {
				t.Errorf("List = %+v, %v, want %d", blocks, err, len(want))
			}
		})
	}
	if read != 18 {
		t.Errorf("%d cases were read, want 18", read)
	}
}

// TestStoreVectorUnblock: an unblock leaves both stores as the library's does.
func TestStoreVectorUnblock(t *testing.T) {
	t.Parallel()
	cases := storeCases(t)
	before, c := cases["first_active_warm_hit"], cases["unblock_permanent"]
	r := newPythonRig(t, c.At, time.Hour, true)
	r.load(t, before)
	lifted, err := r.Unblock(t.Context(), store.Revocation{Scope: user("42"), By: "ops", Reason: "ok", At: r.clock.Now()})
	if err != nil || len(lifted) == 0 {
		t.Fatalf("Unblock = %+v, %v", lifted, err)
	}
	keys, err := r.client.Keys(t.Context(), "sec_audit:block*").Result()
	if err != nil {
		t.Fatal(err)
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return strings.Contains(k, ":generation:") || strings.Contains(k, ":changes") })
	if len(keys) != len(c.Redis) || len(c.Redis) != 1 || c.Redis[keys[0]].Value == "" {
		t.Errorf("keys %v, want those of %v", keys, c.Redis)
	}
	sameRows(t, r.rows(t), c.Rows)
}

// TestStoreVectorBugs: the library's recorded mistakes, not made.
func TestStoreVectorBugs(t *testing.T) {
	t.Parallel()
	cases := storeCases(t)
	t.Run("durable_expiry_ignored_by_cache", func(t *testing.T) {
		t.Parallel()
		c := cases["durable_expiry_ignored_by_cache"]
		r := newPythonRig(t, c.At, time.Hour, true)
		c.Redis = nil // their copy, which cannot be distinguished from a block of an hour
		r.load(t, c)
		reconcile(t, tiered.NewReconciler(r.Blocks, tiered.ReconcilerOptions{}))
		if len(mustLookup(t, r, user("42"))) != 1 {
			t.Error("not blocked while the row says so")
		}
		r.clock.Reach(t, r.clock.Now().Add(60*time.Second))
		if found := mustLookup(t, r, user("42")); len(found) != 0 {
			t.Errorf("50 s after its end blocked by %+v", found)
		}
	})
	t.Run("temp_overwrites_permanent_no_pg", func(t *testing.T) {
		t.Parallel()
		r := newPythonRig(t, 0.25, time.Hour, false)
		put(t, r, permanentAt("perm", r.clock.Now()), store.Began)
		temp := permanentAt("temp", r.clock.Now())
		temp.Block.ExpiresAt = r.clock.Now().Add(30 * time.Second)
		put(t, r, temp, store.Kept)
		if found := mustLookup(t, r, user("42")); len(found) != 1 || found[0].Rule != "perm" {
			t.Errorf("blocked by %+v", found)
		}
	})
}

func permanentAt(rule string, at time.Time) store.Put {
	return store.Put{Block: checker.Block{Scope: user("42"), Rule: rule, CreatedAt: at}}
}

func mustLookup(t *testing.T, b checker.Lookup, scope checker.Scope) []checker.Block {
	t.Helper()
	found, err := b.Lookup(t.Context(), []checker.Scope{scope})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
