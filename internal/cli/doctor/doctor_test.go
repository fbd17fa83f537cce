package doctor

import (
	"strings"
	"testing"

	"github.com/wardstream/wardstream/internal/config"
)

func TestUserOf(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://localhost:6379/0": "default", "redis://:secret@localhost": "default", "redis://app:secret@localhost": "app",
		"redis+cluster://app:secret@a:1,b:2": "app", "rediss://app@h": "app", "unix://app:s@/run/redis.sock": "app", "": "default",
	} {
		if got := userOf(url); got != want {
			t.Errorf("userOf(%q) = %q, want %q", url, got, want)
		}
	}
}

// TestGrant: every stream, its dead letters and all keys are in it, and in a Cluster what only that
// needs.
func TestGrant(t *testing.T) {
	t.Parallel()
	x := &examination{cfg: &config.Config{KeyPrefix: "p", Stream: config.Stream{Names: []string{"a", "b"}, Group: "g"}, Events: config.Events{Stream: "e"}}}
	advice := x.grant("app")
	for _, want := range []string{"ACL SETUSER app ~a ~a:dead ~b ~b:dead ~e ~p:* +xreadgroup ", " +xgroup|create ", " +multi +exec "} {
		if !strings.Contains(advice, want) {
			t.Errorf("advice %q lacks %q", advice, want)
		}
	}
	if strings.Contains(advice, "cluster") {
		t.Errorf("advice %q is for a Cluster", advice)
	}
	x.cfg.Redis.URL = "redis+cluster://a:1"
	if advice := x.grant("app"); !strings.HasSuffix(advice, "+cluster|slots") {
		t.Errorf("advice for a Cluster %q", advice)
	}
	x.cfg.Events.Stream = ""
	if strings.Contains(x.grant("app"), "~e ") {
		t.Error("advice for a stream that isn't written")
	}
}
