package cooldown_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/cooldown"
	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func begin(t *testing.T, g *cooldown.Gate, markers ...cooldown.Marker) []bool {
	t.Helper()
	due, err := g.Begin(t.Context(), markers)
	if err != nil {
		t.Fatal(err)
	}
	return due
}

func marker(group, id string) cooldown.Marker {
	return cooldown.Marker{Rule: "r", Group: group, ID: id, TTL: time.Minute}
}

func TestAlertOncePerRuleGroupAndCooldown(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	one := cooldown.New(env.Client, env.Prefix, time.Now)
	other := cooldown.New(env.Client, env.Prefix, time.Now)
	for _, step := range []struct {
		gate    *cooldown.Gate
		markers []cooldown.Marker
		want    []bool
	}{
		{one, []cooldown.Marker{marker("a", "1"), marker("b", "2"), marker("a", "3")}, []bool{true, true, false}},
		{one, []cooldown.Marker{marker("a", "4"), marker("a", "1")}, []bool{false, true}},
		{other, []cooldown.Marker{marker("a", "5"), marker("b", "2"), marker("c", "6")}, []bool{false, true, true}},
		{one, []cooldown.Marker{marker("c", "7")}, []bool{false}},
		{one, nil, []bool{}},
	} {
		if got := begin(t, step.gate, step.markers...); !slices.Equal(got, step.want) {
			t.Fatalf("due %v, want %v", got, step.want)
		}
	}
}

func TestMarkersExpire(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	gate := cooldown.New(env.Client, env.Prefix, time.Now)
	begin(t, gate, marker("a", "1"), marker("b\n{}", "2"))
	keys := env.Client.Keys(t.Context(), env.Prefix+":*").Val()
	if len(keys) != 2 {
		t.Fatalf("keys %q", keys)
	}
	for _, key := range keys {
		if ttl := env.Client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("TTL of %q is %s", key, ttl)
		}
	}
}

func TestLocalMarkersExpireBeforeRedisMarkers(t *testing.T) {
	t.Parallel()
	env := testenv.Redis(t)
	now := time.Now()
	gate := cooldown.New(env.Client, env.Prefix, func() time.Time { return now })
	begin(t, gate, marker("a", "1"))
	env.Client.Del(t.Context(), env.Client.Keys(t.Context(), env.Prefix+":*").Val()...)
	if begin(t, gate, marker("a", "2"))[0] {
		t.Fatal("an alert within the cooldown")
	}
	now = now.Add(55 * time.Second)
	if !begin(t, gate, marker("a", "3"))[0] {
		t.Fatal("no alert though Redis has no marker any more")
	}
}

// TestRepeatedMatchDoesNotExtendCooldown: under a lasting attack the next alert comes when the
// cooldown of the first ends, whichever worker finds the matches in between and whether their
// markers are known here.
func TestRepeatedMatchDoesNotExtendCooldown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		id    string // of the repeated match
		other bool   // another worker finds it
		later time.Duration
		due   bool
	}{
		"another match, known here":           {id: "2", later: 30 * time.Second},
		"another match, no longer known here": {id: "2", later: 55 * time.Second},
		"another match, another worker":       {id: "2", other: true, later: 30 * time.Second},
		"redelivery":                          {id: "1", later: 30 * time.Second, due: true},
		"redelivery to another worker":        {id: "1", other: true, later: 30 * time.Second, due: true},
		"redelivery, no longer known here":    {id: "1", later: 55 * time.Second, due: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := testenv.Redis(t)
			now := time.Now()
			clock := func() time.Time { return now }
			first := cooldown.New(env.Client, env.Prefix, clock)
			begin(t, first, marker("a", "1"))
			key := env.Client.Keys(t.Context(), env.Prefix+":*").Val()[0]
			left := time.Minute - tt.later // as if so much of it had passed
			if err := env.Client.PExpire(t.Context(), key, left).Err(); err != nil {
				t.Fatal(err)
			}
			now = now.Add(tt.later)
			gate := first
			if tt.other {
				gate = cooldown.New(env.Client, env.Prefix, clock)
			}
			if due := begin(t, gate, marker("a", tt.id))[0]; due != tt.due {
				t.Errorf("due %v, want %v", due, tt.due)
			}
			if ttl := env.Client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > left {
				t.Errorf("%s of the cooldown are left after the repeated match, want at most %s", ttl, left)
			}
			if id := env.Client.Get(t.Context(), key).Val(); id != "1" {
				t.Errorf("the marker is that of %q", id)
			}
			env.Client.Del(t.Context(), key)
			now = now.Add(left)
			if !begin(t, gate, marker("a", "3"))[0] {
				t.Error("no alert though the cooldown is over")
			}
		})
	}
}

func TestRedisDownIsAnError(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	gate := cooldown.New(env.Client, env.Prefix, time.Now)
	env.Kill()
	if _, err := gate.Begin(t.Context(), []cooldown.Marker{marker("a", "1")}); err == nil {
		t.Fatal("no error though Redis is down")
	}
}
