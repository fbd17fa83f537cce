package redislookup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
	"github.com/wardstream/wardstream/pkg/checker"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

var (
	user    = checker.Scope{Type: checker.ScopeUser, Value: "42"}
	session = checker.Scope{Type: checker.ScopeSession, Value: strings.Repeat("s", 300)}
	address = checker.Scope{Type: checker.ScopeIP, Value: "203.0.113.9"}
	all     = []checker.Scope{user, session, address}
)

// A fixture is a Redis with blocks in it.
type fixture struct {
	t      testing.TB
	client redis.UniversalClient
	keys   rediskey.Keys
}

func newFixture(t testing.TB) fixture {
	env := testenv.Redis(t)
	client, err := Connect(env.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return fixture{t: t, client: client, keys: rediskey.Keys{Prefix: env.Prefix}}
}

// lookup returns a Lookup over the fixture's client and prefix.
func (f fixture) lookup(opts ...Option) *Lookup {
	return New(f.client, append([]Option{WithKeyPrefix(f.keys.Prefix)}, opts...)...)
}

func (f fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func made(scope checker.Scope, message string, ttl time.Duration) checker.Block {
	b := checker.Block{ID: "e-" + message, Scope: scope, Rule: "r", StatusCode: 403, Message: message, CreatedAt: time.Now().UTC()}
	if ttl != 0 {
		b.ExpiresAt = time.Now().Add(ttl).UTC()
	}
	return b
}

// key writes the block key of b, member its field in the membership hash.
func (f fixture) key(b checker.Block) {
	f.t.Helper()
	raw, err := wire.EncodeBlock(b)
	f.must(err)
	f.must(f.client.Set(f.t.Context(), f.keys.Block(b.Scope), raw, time.Hour).Err())
}

func (f fixture) member(b checker.Block) {
	f.t.Helper()
	raw, err := wire.EncodeMember(b)
	f.must(err)
	f.must(f.client.HSet(f.t.Context(), f.keys.Permanent(), rediskey.MemberField(b.Scope), raw).Err())
	f.must(f.client.Expire(f.t.Context(), f.keys.Permanent(), time.Hour).Err())
}

func (f fixture) complete() {
	f.t.Helper()
	f.must(f.client.HSet(f.t.Context(), f.keys.Permanent(), rediskey.CompleteField, "1").Err())
	f.must(f.client.Expire(f.t.Context(), f.keys.Permanent(), time.Hour).Err())
}

// messages returns the messages of the blocks found, which differ.
func messages(blocks []checker.Block) []string {
	out := []string{}
	for _, b := range blocks {
		out = append(out, b.Scope.Type+":"+b.Message)
	}
	slices.Sort(out)
	return out
}

func TestLookup(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		write func(fixture)
		want  []string
	}{
		"nothing":                        {func(f fixture) { f.complete() }, []string{}},
		"a temporary block":              {func(f fixture) { f.complete(); f.key(made(address, "temp", time.Minute)) }, []string{"ip:temp"}},
		"a permanent block in both":      {func(f fixture) { f.complete(); f.key(made(user, "perm", 0)); f.member(made(user, "perm", 0)) }, []string{"user:perm"}},
		"a permanent block, key evicted": {func(f fixture) { f.complete(); f.member(made(user, "perm", 0)) }, []string{"user:perm"}},
		"a permanent block, hash gone":   {func(f fixture) { f.key(made(user, "perm", 0)) }, []string{"user:perm"}},
		"a member of an incomplete hash": {func(f fixture) { f.member(made(user, "perm", 0)) }, []string{"user:perm"}},
		"a long value, hashed in keys":   {func(f fixture) { f.complete(); f.key(made(session, "long", time.Minute)) }, []string{"session:long"}},
		"a long value, permanent":        {func(f fixture) { f.complete(); f.member(made(session, "long", 0)) }, []string{"session:long"}},
		"all at once": {func(f fixture) {
			f.complete()
			f.key(made(address, "temp", time.Minute))
			f.member(made(user, "perm", 0))
			f.key(made(session, "s", time.Minute))
		}, []string{"ip:temp", "session:s", "user:perm"}},
		"others' blocks": {func(f fixture) {
			f.complete()
			f.key(made(checker.Scope{Type: "username", Value: "42"}, "x", 0))
			f.member(made(checker.Scope{Type: "user", Value: "43"}, "x", 0))
		}, []string{}},
		"a temporary key over a permanent block": {func(f fixture) {
			f.complete()
			f.key(made(user, "temp", time.Minute))
			f.member(made(user, "perm", 0))
		}, []string{"user:perm"}},
		"a permanent key over a member that ends": {func(f fixture) {
			f.complete()
			f.key(made(user, "perm", 0))
			f.member(made(user, "ends", time.Minute))
		}, []string{"user:perm"}},
		"a key past its expiry":    {func(f fixture) { f.complete(); f.key(made(user, "over", -time.Second)) }, []string{}},
		"a member past its expiry": {func(f fixture) { f.complete(); f.member(made(user, "over", -time.Second)) }, []string{}},
		"a key past its expiry doesn't hide a member": {func(f fixture) {
			f.complete()
			f.key(made(user, "over", -time.Second))
			f.member(made(user, "perm", 0))
		}, []string{"user:perm"}},
		"what the Python library writes": {func(f fixture) {
			f.must(f.client.Set(f.t.Context(), f.keys.Block(user), `{"scope_type": "user", "scope_value": "42", "rule_name": "manual", "message": "py", `+
				`"metadata": {"a": [1]}, "created_at": "2026-01-01T00:00:00+00:00", "expires_at": null, "more": 1}`, time.Hour).Err())
		}, []string{"user:py"}},
		"the key says what is blocked, not the value": {func(f fixture) {
			f.must(f.client.Set(f.t.Context(), f.keys.Block(user), `{"scope_type": "user", "scope_value": " 43", "message": "odd"}`, time.Hour).Err())
		}, []string{"user:odd"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			tc.write(f)
			blocks, err := f.lookup().Lookup(t.Context(), all)
			if err != nil || !reflect.DeepEqual(messages(blocks), tc.want) {
				t.Fatalf("Lookup = %v, %v; want %v", messages(blocks), err, tc.want)
			}
			for _, b := range blocks {
				if !slices.Contains(all, b.Scope) {
					t.Errorf("block of another scope: %+v", b)
				}
			}
		})
	}
}

func TestLookupOfNothing(t *testing.T) {
	t.Parallel()
	if blocks, err := newFixture(t).lookup(WithPermanentTier()).Lookup(t.Context(), nil); len(blocks) != 0 || err != nil {
		t.Fatalf("Lookup = %v, %v", blocks, err)
	}
}

func TestBlockKeepsWhatADenialNeeds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete()
	b := made(user, "perm", 0)
	f.member(b)
	blocks, err := f.lookup().Lookup(t.Context(), all)
	if err != nil || len(blocks) != 1 {
		t.Fatalf("Lookup = %v, %v", blocks, err)
	}
	if got := blocks[0]; got.ID != b.ID || got.Rule != b.Rule || got.StatusCode != 403 || got.Message != "perm" || !got.Permanent() {
		t.Fatalf("from the hash: %+v", got)
	}
}

// cold is a Lookup that stands for Postgres.
type cold struct {
	blocks []checker.Block
	err    error
	asked  [][]checker.Scope
}

func (c *cold) Lookup(_ context.Context, scopes []checker.Scope) ([]checker.Block, error) {
	c.asked = append(c.asked, scopes)
	return c.blocks, c.err
}

var errPostgres = errors.New("postgres is down")

func TestColdHash(t *testing.T) {
	t.Parallel()
	perm, temp := made(user, "perm", 0), made(address, "temp", time.Minute)
	cases := map[string]struct {
		write func(fixture)
		opts  []Option
		cold  *cold
		want  []string
		err   error
		asked int
	}{
		"missing, no permanent tier":     {func(f fixture) { f.key(temp) }, nil, nil, []string{"ip:temp"}, nil, 0},
		"missing, permanent tier":        {func(f fixture) { f.key(temp) }, []Option{WithPermanentTier()}, nil, []string{"ip:temp"}, ErrCold, 0},
		"incomplete, permanent tier":     {func(f fixture) { f.member(perm) }, []Option{WithPermanentTier()}, nil, []string{"user:perm"}, ErrCold, 0},
		"complete, permanent tier":       {func(f fixture) { f.complete(); f.key(temp) }, []Option{WithPermanentTier()}, nil, []string{"ip:temp"}, nil, 0},
		"missing, cold look-up knows":    {func(f fixture) { f.key(temp) }, nil, &cold{blocks: []checker.Block{perm}}, []string{"ip:temp", "user:perm"}, nil, 1},
		"incomplete, cold look-up knows": {func(f fixture) { f.member(made(session, "m", 0)) }, nil, &cold{blocks: []checker.Block{perm}}, []string{"session:m", "user:perm"}, nil, 1},
		"cold look-up is stronger": {
			func(f fixture) { f.key(made(user, "temp", time.Minute)) }, nil,
			&cold{blocks: []checker.Block{perm}},
			[]string{"user:perm"},
			nil, 1,
		},
		"cold look-up is weaker": {
			func(f fixture) { f.key(made(user, "key", 0)) }, nil,
			&cold{blocks: []checker.Block{made(user, "pg", time.Minute)}},
			[]string{"user:key"},
			nil, 1,
		},
		"cold look-up fails":                 {func(f fixture) { f.key(temp) }, nil, &cold{err: errPostgres}, []string{"ip:temp"}, errPostgres, 1},
		"complete: the cold one isn't asked": {func(f fixture) { f.complete() }, nil, &cold{err: errPostgres}, []string{}, nil, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			tc.write(f)
			if tc.cold != nil {
				tc.opts = append(tc.opts, WithPermanentTier(), WithColdLookup(tc.cold))
			}
			blocks, err := f.lookup(tc.opts...).Lookup(t.Context(), all)
			if !errors.Is(err, tc.err) || !reflect.DeepEqual(messages(blocks), tc.want) {
				t.Fatalf("Lookup = %v, %v; want %v, %v", messages(blocks), err, tc.want, tc.err)
			}
			if tc.cold == nil {
				return
			}
			if len(tc.cold.asked) != tc.asked || (tc.asked == 1 && !reflect.DeepEqual(tc.cold.asked[0], all)) {
				t.Fatalf("cold look-up was asked %v, want %d times for all scopes", tc.cold.asked, tc.asked)
			}
		})
	}
}

func TestCorruptValueIsAnErrorAndHidesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete()
	f.key(made(address, "temp", time.Minute))
	f.member(made(session, "perm", 0))
	f.must(f.client.Set(t.Context(), f.keys.Block(session), "\x80", time.Hour).Err())
	for _, garbage := range []string{"not json", "", "[]", "null", `"x"`, `{"scope_type":"user"}`, `{"scope_type":"user","scope_value":" "}`, "\x00\xff", strings.Repeat("[", 100_000)} {
		f.must(f.client.Set(t.Context(), f.keys.Block(user), garbage, time.Hour).Err())
		blocks, err := f.lookup().Lookup(t.Context(), all)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), f.keys.Block(user)) {
			t.Errorf("%.20q: error %v, want ErrCorrupt naming the key", garbage, err)
		}
		if want := []string{"ip:temp", "session:perm"}; !reflect.DeepEqual(messages(blocks), want) {
			t.Errorf("%.20q: found %v, want %v", garbage, messages(blocks), want)
		}
	}
	f.must(f.client.Del(t.Context(), f.keys.Block(user), f.keys.Block(session)).Err())
	f.must(f.client.HSet(t.Context(), f.keys.Permanent(), rediskey.MemberField(user), "x").Err())
	if _, err := f.lookup().Lookup(t.Context(), all); !errors.Is(err, ErrCorrupt) {
		t.Errorf("corrupt member: error %v", err)
	}
}

func TestHashOfAnotherTypeIsAnError(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.key(made(address, "temp", time.Minute))
	f.must(f.client.Set(t.Context(), f.keys.Permanent(), "x", time.Hour).Err())
	blocks, err := f.lookup().Lookup(t.Context(), all)
	if !redis.HasErrorPrefix(err, "WRONGTYPE") || !reflect.DeepEqual(messages(blocks), []string{"ip:temp"}) {
		t.Fatalf("Lookup = %v, %v", messages(blocks), err)
	}
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.complete()
	var pipelines, commands int
	f.client.AddHook(counter{&pipelines, &commands})
	if _, err := f.lookup(WithPermanentTier()).Lookup(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if pipelines != 1 || commands != 2 {
		t.Fatalf("%d round trips with %d commands, want 1 with MGET and HMGET", pipelines, commands)
	}
}

// counter counts what goes over a client.
type counter struct{ pipelines, commands *int }

func (c counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		*c.pipelines++
		*c.commands++
		return next(ctx, cmd)
	}
}

func (c counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() != "hello" && cmds[0].Name() != "client" {
			*c.pipelines++
			*c.commands += len(cmds)
		}
		return next(ctx, cmds)
	}
}

func TestHonoursDeadline(t *testing.T) {
	t.Parallel()
	good := connect(t, "redis://127.0.0.1:1")
	lax := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = lax.Close() })
	for name, tc := range map[string]struct {
		lookup *Lookup
		want   bool
	}{
		"Connect":                          {New(good), true},
		"without ContextTimeoutEnabled":    {New(lax), false},
		"with a cold look-up that may not": {New(good, WithColdLookup(&cold{})), false},
		"with one that does":               {New(good, WithColdLookup(New(good))), true},
	} {
		if got := tc.lookup.HonoursDeadline(); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLinksNoHeavyDependency holds the promise that importing the checker for Redis
// links no other store, no telemetry and no RPC.
func TestLinksNoHeavyDependency(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".", "../httpcheck").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 || !slices.Contains(deps, "github.com/redis/go-redis/v9") {
		t.Fatalf("go list names %d packages", len(deps))
	}
	for _, dep := range deps {
		for _, heavy := range []string{"jackc/", "go.opentelemetry.io/", "prometheus/", "google.golang.org/", "spf13/", "goccy/", "database/sql"} {
			if strings.Contains(dep, heavy) {
				t.Errorf("links %s", dep)
			}
		}
	}
}

func TestDefaultsAgree(t *testing.T) {
	t.Parallel()
	if wire.DefaultStatus != checker.DefaultStatusCode || wire.DefaultMessage != checker.DefaultMessage {
		t.Fatal("wire and checker answer differently by default")
	}
}
