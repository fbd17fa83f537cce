package detector

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/config"
	"github.com/wardstream/wardstream/internal/deadletter"
	"github.com/wardstream/wardstream/internal/event"
	"github.com/wardstream/wardstream/internal/rediskey"
	"github.com/wardstream/wardstream/internal/rules"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/window"
)

// poisonVariable makes the test binary a detector, one of whose rules doesn't survive an event that
// says so. It holds Redis' URL, the key prefix, how many dead letters there are to be, and how long
// a loop may stand still, as stuckAfter but not so long; 0 is for ever.
const poisonVariable = "WARDSTREAM_DETECTOR_CHILD"

// Exit codes of such a detector, besides 0 for having done everything.
const (
	childBroken = 10 + iota
	childExited
	childNotAlive
)

// poisonous is a rule that judges, once the windows have their events, as the event's attribute
// poison says.
type poisonous struct{}

func (poisonous) Name() string                                     { return "poisonous" }
func (poisonous) Selects(*event.Event) bool                        { return true }
func (poisonous) EventFilter() rules.EventFilter                   { return rules.EventFilter{Any: true} }
func (poisonous) Plan(_ *event.Event, ops []window.Op) []window.Op { return ops }

func (poisonous) Judge(e *event.Event, _ []int) (rules.Match, bool) {
	switch e.Text("poison") {
	case "exit":
		os.Exit(childExited)
	case "stack overflow": // which no recover catches
		debug.SetMaxStack(1 << 20)
		var depth int
		overflow(&depth)
	case "panic":
		panic(e)
	case "hang":
		select {}
	}
	return rules.Match{}, false
}

func overflow(depth *int) int {
	if *depth++; *depth < 0 {
		return 0
	}
	return overflow(depth) + 1
}

// poisonConfig has entries handled alone at their second delivery.
func poisonConfig(url, prefix string) (*config.Config, error) {
	return config.Parse("test.yaml", []byte(`
redis: {url: "`+url+`"}
key_prefix: "`+prefix+`"
stream: {names: ["`+prefix+`:events"], consumer: stable, loops: 2, max_deliveries: 1}
rules: [{name: brute_force_login}]
blocks: {default_ttl: 2h}
events: {stdout: false, stream: ""}
http: {addr: ""}
`), config.Options{Hostname: "h"})
}

// poisonChild works until everything is done, or is ended by what a probe of its liveness would do.
func poisonChild() int {
	var url, prefix string
	var dead int64
	var standstill time.Duration
	if _, err := fmt.Sscan(os.Getenv(poisonVariable), &url, &prefix, &dead, (*int64)(&standstill)); err != nil {
		return childBroken
	}
	cfg, err := poisonConfig(url, prefix)
	if err != nil {
		return childBroken
	}
	cfg.RuleSet = rules.NewSet(append(cfg.RuleSet.Rules(), poisonous{})...)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	d, err := New(ctx, cfg, Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return childBroken
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, context.Background()) }()
	client, stream := d.stores.Clients.Ops, prefix+":events"
	for ctx.Err() == nil {
		for _, h := range d.consumer.Health() {
			if standstill > 0 && !h.Progress.IsZero() && time.Since(h.Progress) > standstill {
				return childNotAlive
			}
		}
		groups, err := client.XInfoGroups(ctx, stream).Result()
		if err == nil && len(groups) == 1 && groups[0].Lag == 0 && groups[0].Pending == 0 && client.XLen(ctx, rediskey.DeadLetters(stream)).Val() == dead {
			cancel()
			if <-ended == nil {
				return 0
			}
		}
		<-time.After(10 * time.Millisecond)
	}
	return childBroken
}

// TestPoisonEntriesBecomeDeadLetters: an event that ends the process, overflows its stack, panics,
// or keeps it for ever is a dead letter with a reason in the end, and its neighbours count, each
// once.
func TestPoisonEntriesBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	for poison, want := range map[string]struct {
		code   int // of the detectors that don't survive
		deaths int
		reason string
	}{
		// Once in a batch; then alone, with a marker.
		"exit":           {childExited, 2, "killed the worker"},
		"stack overflow": {2, 2, "killed the worker"},
		"hang":           {childNotAlive, 2, "killed the worker"},
		"panic":          {0, 0, "panic: *event.Event"},
	} {
		t.Run(poison, func(t *testing.T) {
			t.Parallel()
			p := &poisoned{t: t, env: testenv.Redis(t)}
			if poison == "hang" {
				p.standstill = 5 * time.Second
			}
			p.failures("203.0.113.1", 3) // four in the end
			p.failures("203.0.113.2", 2) // five
			id := p.add("event_type", "auth.login.failed", "poison", poison)
			p.failures("203.0.113.2", 3)
			p.failures("203.0.113.1", 1)
			deaths := 0
			for code := -1; code != 0; deaths++ {
				if code = p.run(1); code != 0 && code != want.code {
					t.Fatalf("a detector ended with %d", code)
				}
			}
			if deaths--; deaths != want.deaths {
				t.Errorf("%d detectors ended, want %d", deaths, want.deaths)
			}
			admin := deadletter.NewQueue(p.env.Client, p.env.Prefix+":events")
			letters, err := admin.List(t.Context(), "", 9)
			if err != nil || len(letters) != 1 || letters[0].EntryID != id || letters[0].Reason != want.reason || letters[0].Deliveries != want.deaths+1 {
				t.Fatalf("dead letters %+v, %v", letters, err)
			}
			p.blocked(true, "203.0.113.2")
			p.blocked(false, "203.0.113.1")

			// Put right it is the fifth failure, however often it is requeued.
			edit := deadletter.Edit{Unset: []string{"poison"}, Set: [][2]string{{"source.address", "203.0.113.1"}}}
			for _, n := range []int{1, 0} {
				if got, err := admin.RequeueEdited(t.Context(), letters[0].ID, edit); err != nil || got != n {
					t.Errorf("requeued %d, want %d: %v", got, n, err)
				}
			}
			if code := p.run(0); code != 0 {
				t.Errorf("the last detector ended with %d", code)
			}
			p.blocked(true, "203.0.113.1")
		})
	}
}

// poisoned is a stream with something poisonous.
type poisoned struct {
	t          *testing.T
	env        *testenv.RedisEnv
	standstill time.Duration
}

func (p *poisoned) add(fields ...any) string {
	p.t.Helper()
	id, err := p.env.Client.Do(p.t.Context(), append([]any{"XADD", p.env.Prefix + ":events", "*"}, fields...)...).Text()
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *poisoned) failures(ip string, n int) {
	p.t.Helper()
	for range n {
		p.add("event_type", "auth.login.failed", "source.address", ip)
	}
}

// run runs a detector until it ends, and returns its exit code.
func (p *poisoned) run(dead int) int {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %d", poisonVariable, p.env.URL, p.env.Prefix, dead, p.standstill))
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code == 0 || code > childBroken || strings.Contains(string(out), "stack overflow") {
		return code
	}
	p.t.Fatalf("a detector ended: %s", out[max(0, len(out)-4000):])
	return -1
}

func (p *poisoned) blocked(want bool, ip string) {
	p.t.Helper()
	if got := p.env.Client.Exists(p.t.Context(), p.env.Prefix+":block:ip:"+ip).Val() == 1; got != want {
		p.t.Errorf("%s is blocked: %t", ip, got)
	}
}
