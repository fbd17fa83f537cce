package detectorcli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/cli"
	"github.com/wardstream/wardstream/internal/cli/ingresscli"
)

// TestStoreURLsAreTheSameForBothBinaries runs the configurations of both binaries over the same
// URLs: both accept one, or both refuse it in the same words.
func TestStoreURLsAreTheSameForBothBinaries(t *testing.T) {
	t.Parallel()
	good := map[string][]string{
		"redis": {
			"redis://127.0.0.1:1", "redis://u:p%40ss@127.0.0.1:1/2", "rediss://127.0.0.1:1", "valkey://127.0.0.1:1", "unix:///nowhere/redis.sock?db=3",
			"redis+cluster://127.0.0.1:1,127.0.0.1:2", "redis+sentinel://127.0.0.1:1/main", "redis://127.0.0.1:1?pool_size=7", "redis://[::1]:1",
		},
		"postgres": {
			"postgres://127.0.0.1:1/d", "postgresql://u:p@127.0.0.1:1/d?sslmode=disable", "postgres://u:p@127.0.0.1:1,127.0.0.1:2/d",
			"postgres://127.0.0.1:1/d?pool_max_conns=4",
		},
	}
	bad := map[string][]string{
		"redis": {
			"h", "http://127.0.0.1:1", "redis//127.0.0.1:1", "redis://127.0.0.1:port", "redis://u:p/hunter2@127.0.0.1:1", "redis://u:p#hunter2@127.0.0.1:1",
			"redis://127.0.0.1:1/0#hunter2", "redis://127.0.0.1:1/x@hunter2", "redis://127.0.0.1:1?no-option=1", "redis+sentinel://127.0.0.1:1", "redis+cluster://127.0.0.1:1/3",
		},
		"postgres": {
			"h", "host=127.0.0.1", "mysql://127.0.0.1:1/d", "postgres://127.0.0.1:port/d", "postgres://127.0.0.1:1/d?sslmode=perhaps", "postgres://127.0.0.1:1/d/e",
			"postgres://u:hunter2/x@127.0.0.1:1/d", "postgres://127.0.0.1:1/d?pgbouncer=true", "postgres://127.0.0.1:1/d#hunter2",
		},
	}
	for store := range good {
		for _, url := range good[store] {
			if ours, theirs := refusals(t, store, url); ours != "" || theirs != "" {
				t.Errorf("%s: detector %q, ingress-check %q; want it accepted", url, ours, theirs)
			}
		}
		for _, url := range bad[store] {
			ours, theirs := refusals(t, store, url)
			if ours == "" || ours != theirs || strings.Contains(ours, "hunter2") {
				t.Errorf("%s: detector %q, ingress-check %q; want the same refusal", url, ours, theirs)
			}
		}
	}
}

// refusals returns what each binary says against the URL of a store, "" if it accepts it.
func refusals(t *testing.T, store, url string) (ours, theirs string) {
	t.Helper()
	env := []string{"WARDSTREAM_" + strings.ToUpper(store) + "_URL=" + url}
	_, _, stderr := commandLine(t.Context(), env, "rules", "list")
	_, ours, _ = strings.Cut(stderr, ": "+store+".url: ")
	var out, errs bytes.Buffer
	ingresscli.Main(t.Context(), cli.App{Args: []string{"check", "--ip", "192.0.2.1", "--timeout", "1ms"}, Stdout: &out, Stderr: &errs, Environ: env})
	_, theirs, _ = strings.Cut(errs.String(), "--"+store+"-url: ")
	return ours, theirs
}
