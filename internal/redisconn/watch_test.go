package redisconn

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/testenv"
)

func TestParseServer(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]Server{
		"# Server\r\nrun_id:a\r\nuptime_in_seconds:7\r\n# Replication\r\nrole:master\r\nmaster_replid:r\r\n": {RunID: "a", Uptime: 7 * time.Second},
		"role:master\r\nmaster_replid:r":                             {RunID: "r"}, // a hosted Redis that hides its run_id
		"run_id:a\nrole:slave\nmaster_link_status:up\n":              {RunID: "a", Replica: true},
		"run_id:a\nrole:slave\nmaster_link_status:down\n":            {RunID: "a", Replica: true, CutOff: true},
		"run_id:a\nrole:replica\nmaster_link_status:down\n":          {RunID: "a", Replica: true, CutOff: true},
		"run_id:a\nrole:slave\n":                                     {RunID: "a", Replica: true},
		"run_id:a\nrole:master\nmaster_link_status:down\n":           {RunID: "a"},
		"uptime_in_seconds:99999999999999999999\nrun_id:a:b\nrole:x": {RunID: "a:b"},
	} {
		if got, err := ParseServer(info); got != want || err != nil {
			t.Errorf("%q: %+v, %v; want %+v", info, got, err, want)
		}
	}
	for _, info := range []string{"", "\r\n", "role:", "run_id:a", "roles:master", "role", strings.Repeat(":", 99)} {
		if got, err := ParseServer(info); !errors.Is(err, errNotInfo) {
			t.Errorf("%q: %+v, %v", info, got, err)
		}
	}
}

func TestNoticesOfServerChanges(t *testing.T) {
	t.Parallel()
	const another, cutOff, replica, primary = "another Redis server", "cut off", "it can be read", "primary again"
	var (
		a, b   = Server{RunID: "a"}, Server{RunID: "b"}
		linked = Server{RunID: "a", Replica: true}
		cut    = Server{RunID: "a", Replica: true, CutOff: true}
	)
	for i, c := range []struct {
		before *Server
		now    Server
		want   []string
	}{
		{nil, a, nil},
		{nil, linked, []string{replica}},
		{nil, cut, []string{cutOff}},
		{&a, a, nil},
		{&a, Server{RunID: "a", Uptime: time.Hour}, nil},
		{&a, b, []string{another}},
		{&a, linked, []string{replica}},
		{&a, cut, []string{cutOff}},
		{&b, cut, []string{another, cutOff}},
		{&linked, linked, nil},
		{&linked, cut, []string{cutOff}},
		{&linked, a, []string{primary}},
		{&cut, cut, nil},
		{&cut, linked, []string{replica}},
		{&cut, a, []string{primary}},
		{&cut, b, []string{another, primary}},
	} {
		got := notices(c.before, c.now)
		if len(got) != len(c.want) || slices.ContainsFunc(got, func(n notice) bool {
			return !slices.ContainsFunc(c.want, func(want string) bool { return strings.Contains(n.text, want) })
		}) {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}

// A lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// TestWatchFollowsNameToAnotherServer: by a connection of its own, however long the client keeps
// those that it has.
func TestWatchFollowsNameToAnotherServer(t *testing.T) {
	t.Parallel()
	a, b := testenv.PrivateRedis(t), testenv.PrivateRedis(t)
	n := testenv.NewName(t, a.Addr)
	o := options(n.Addr, nil)
	o.ConnMaxLifetime = time.Hour
	client := New(o)
	t.Cleanup(func() { _ = client.Close() })
	log := &lines{}
	w := NewWatch(client, slog.New(slog.NewTextHandler(log, nil)))
	if _, ok := w.Server(); ok {
		t.Error("it knows a server before it looked")
	}
	w.look(t.Context())
	first, ok := w.Server()
	if !ok || first.RunID == "" || first.Replica {
		t.Fatalf("at first %+v, %v", first, ok)
	}
	n.LeadTo(b.Addr)
	for range 2 {
		w.look(t.Context())
	}
	second, ok := w.Server()
	if !ok || second.RunID == first.RunID || log.count("another Redis server answers now") != 1 {
		t.Errorf("then %+v, %v; logged %d times", second, ok, log.count("another Redis"))
	}
	b.Kill()
	if again := w.look(t.Context()); again != watchEvery {
		t.Errorf("in an outage it looks again after %v", again)
	}
	if s, ok := w.Server(); ok {
		t.Errorf("in an outage it knows %+v", s)
	}
	b.Restart()
	w.look(t.Context())
	if s, ok := w.Server(); !ok || s.RunID == second.RunID || log.count("another Redis server answers now") != 2 {
		t.Errorf("after a restart %+v, %v; logged %d times", s, ok, log.count("another Redis"))
	}
}

func TestWatchSeesReplicaThatIsCutOff(t *testing.T) {
	t.Parallel()
	primary, replica := testenv.PrivateRedis(t), testenv.PrivateRedis(t)
	client := New(options(replica.Addr, nil))
	t.Cleanup(func() { _ = client.Close() })
	log := &lines{}
	w := NewWatch(client, slog.New(slog.NewTextHandler(log, nil)))
	become := func(args []any, want Server, text string) {
		t.Helper()
		if len(args) > 0 {
			if err := replica.Client.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Eventually(t, 30*time.Second, func() error {
			w.look(t.Context())
			got, ok := w.Server()
			got.RunID, got.Uptime = "", 0
			if !ok || got != want {
				return fmt.Errorf("%+v, %v; want %+v", got, ok, want)
			}
			return nil
		})
		if log.count(text) == 0 {
			t.Errorf("the log does not say %q", text)
		}
	}
	host, port, _ := strings.Cut(primary.Addr, ":")
	become([]any{"REPLICAOF", host, port}, Server{Replica: true}, "Redis is a replica: it can be read")
	primary.Kill()
	become(nil, Server{Replica: true, CutOff: true}, "cut off from its primary")
	become([]any{"REPLICAOF", "NO", "ONE"}, Server{}, "Redis is a primary again")
}

// TestWatchWithoutPermissionWarnsOnce: with the rights of earlier versions.
func TestWatchWithoutPermissionWarnsOnce(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	if err := env.Client.Do(t.Context(), "ACL", "SETUSER", "u", "on", ">p", "~*", "+mget").Err(); err != nil {
		t.Fatal(err)
	}
	o := options(env.Addr, nil)
	o.Username, o.Password = "u", "p"
	client := New(o)
	t.Cleanup(func() { _ = client.Close() })
	log := &lines{}
	w := NewWatch(client, slog.New(slog.NewTextHandler(log, nil)))
	for range 3 {
		if again := w.look(t.Context()); again != refusedEvery {
			t.Errorf("it looks again after %v", again)
		}
	}
	if got := log.count("let the user run INFO"); got != 1 {
		t.Errorf("said %d times", got)
	}
}

// TestWatchIgnoresClusterAndSentinel: they find failovers by themselves.
func TestWatchIgnoresClusterAndSentinel(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]*redis.UniversalOptions{
		"cluster":  {Addrs: []string{"127.0.0.1:1"}, IsClusterMode: true},
		"sentinel": {Addrs: []string{"127.0.0.1:1"}, MasterName: "m"},
	} {
		client := New(o)
		t.Cleanup(func() { _ = client.Close() })
		w := NewWatch(client, slog.New(slog.DiscardHandler))
		if w != nil {
			t.Errorf("%s: it is watched", name)
		}
		w.Run(t.Context()) // returns at once
		if s, ok := w.Server(); ok {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
