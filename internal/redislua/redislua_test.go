package redislua_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wardstream/wardstream/internal/redislua"
	"github.com/wardstream/wardstream/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const source = `return redis.call('INCRBY', KEYS[1], ARGV[1] * $FACTOR)`

func TestRunLoadsWhatTheServerDoesNotKnow(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	s := redislua.New(source, "$FACTOR", "10")
	for i := range 3 {
		if n, err := s.Run(t.Context(), env.Client, []string{"k"}, 2).Int(); err != nil || n != 20*(i+1) {
			t.Fatalf("run %d: %d, %v", i, n, err)
		}
		if i == 1 {
			env.Client.ScriptFlush(t.Context())
		}
	}
}

// TestRunAllSendsEachCallOnce: also where the server has to be told the script, and with more calls
// than one pipeline takes.
func TestRunAllSendsEachCallOnce(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	s := redislua.New(source, "$FACTOR", "1")
	for round := range 2 {
		env.Client.ScriptFlush(t.Context())
		calls := make([]redislua.Call, redislua.CallsPerPipeline+5)
		for i := range calls {
			calls[i] = redislua.Call{Script: s, Keys: []string{fmt.Sprint("k", i%7)}, Args: []any{1}}
		}
		var ping *redis.StatusCmd
		cmds, err := redislua.RunAll(t.Context(), env.Client, calls, func(p redis.Pipeliner) { ping = p.Ping(t.Context()) })
		if err != nil || len(cmds) != len(calls) || ping.Val() != "PONG" {
			t.Fatalf("%d replies, ping %v, %v", len(cmds), ping, err)
		}
		for i, cmd := range cmds {
			if n, err := cmd.Int(); err != nil || n != i/7+1+round*((len(calls)-i%7+6)/7) {
				t.Fatalf("round %d, call %d: %d, %v", round, i, n, err)
			}
		}
	}
}

func TestRunAllKeepsTheErrorOfOneKeyApart(t *testing.T) {
	t.Parallel()
	env := testenv.PrivateRedis(t)
	env.Client.LPush(t.Context(), "list", "x")
	s := redislua.New(source, "$FACTOR", "1")
	calls := []redislua.Call{{Script: s, Keys: []string{"list"}, Args: []any{1}}, {Script: s, Keys: []string{"k"}, Args: []any{1}}}
	cmds, err := redislua.RunAll(t.Context(), env.Client, calls, nil)
	if err != nil || !redislua.WrongType(cmds[0].Err()) || cmds[1].Err() != nil {
		t.Errorf("replies %v, %v", cmds, err)
	}
}
