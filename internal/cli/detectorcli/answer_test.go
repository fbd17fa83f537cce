package detectorcli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wardstream/wardstream/internal/cli"
)

// broken is a writer that fails.
type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// TestWriteErrorIsReturned: an answer that can't be written is an error.
func TestWriteErrorIsReturned(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"version", "version --output json", "rules list --all"} {
		var errs bytes.Buffer
		app := cli.App{Args: strings.Fields(args), Stdout: broken{}, Stderr: &errs, Version: "v1"}
		if code := Main(t.Context(), t.Context(), app); code != cli.ExitError || errs.String() != "detector: print answer: broken\n" {
			t.Errorf("%s: exit %d, %q", args, code, errs.String())
		}
	}
}

func TestDurationFlag(t *testing.T) {
	t.Parallel()
	var d duration
	for in, want := range map[string]time.Duration{"10m": 10 * time.Minute, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour} {
		if err := d.Set(in); err != nil || time.Duration(d) != want {
			t.Errorf("%s is %s, %v", in, time.Duration(d), err)
		}
	}
	for _, in := range []string{"", "10", "m", "7 d", "1y"} {
		if err := d.Set(in); !errors.Is(err, errDuration) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
