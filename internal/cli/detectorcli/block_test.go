package detectorcli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/cli"
)

// commandLine runs the detector's command line in this process, with nothing in its environment but
// env.
func commandLine(ctx context.Context, env []string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	app := cli.App{Args: args, Stdout: &out, Stderr: &errs, Environ: env, Version: "v1.2.3"}
	code = Main(ctx, context.WithoutCancel(ctx), app)
	return code, out.String(), errs.String()
}

// nowhere is the environment of a command whose stores don't answer.
func nowhere() []string { return []string{"WARDSTREAM_REDIS_URL=redis://127.0.0.1:1"} }

// TestBlockOfManyNeedsYes: what hits people who have nothing to do with it is asked for twice,
// before any store is asked. With --yes the command goes on to the stores.
func TestBlockOfManyNeedsYes(t *testing.T) {
	t.Parallel()
	const permanent, wide = "a permanent block of an ip also blocks", "is a very wide range"
	for line, want := range map[string]string{
		"ip 203.0.113.9":                 permanent,
		"ip 203.0.113.9/32":              permanent,
		"ip 203.0.113.0/24":              permanent,
		"ip 203.0.0.0/16":                permanent,
		"ip 2001:db8::1":                 permanent,
		"ip 2001:db8:7:1::/64":           permanent,
		"ip 2001:db8:7::/48":             permanent,
		"ip ::ffff:203.0.113.0/120":      permanent,
		"ip 203.0.0.0/15":                wide,
		"ip 203.0.0.0/15 --ttl 1m":       wide,
		"ip 2001:d00::/24 --ttl 1m":      wide,
		"ip 203.0.0.0/16 --ttl 1m":       "",
		"ip 2001:db8::/32 --ttl 1m":      "",
		"ip 203.0.113.9 --ttl 8760h":     "",
		"user 42":                        "",
		"session 6f1c":                   "",
		"username 203.0.113.0/24":        "",
		"ip 203.0.113.0/24 --yes=false":  permanent,
		"ip 203.0.113.0/24 --reason yes": permanent,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"block"}, strings.Fields(line)...)
			code, stdout, stderr := commandLine(t.Context(), nowhere(), args...)
			if want == "" {
				want = "can't be reached"
			} else if _, _, said := commandLine(t.Context(), nowhere(), append(args, "--yes")...); !strings.Contains(said, "can't be reached") {
				t.Errorf("with --yes: %q", said)
			}
			if code != cli.ExitError || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("exit %d, stdout %q, stderr %q; want %q", code, stdout, stderr, want)
			}
		})
	}
}
