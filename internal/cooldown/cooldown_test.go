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

func TestOncePerRuleGroupAndCooldown(t *testing.T) {
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

func TestWhatIsKnownHereIsForgottenBeforeRedisDoes(t *testing.T) {
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

func TestRedisDown(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	gate := cooldown.New(env.Client, env.Prefix, time.Now)
	env.Kill()
	if _, err := gate.Begin(t.Context(), []cooldown.Marker{marker("a", "1")}); err == nil {
		t.Fatal("no error though Redis is down")
	}
}
