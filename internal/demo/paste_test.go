package demo

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestPastedLines runs the lines that a demo prints, as a person would.
func TestPastedLines(t *testing.T) {
	t.Parallel()
	d := launch(t, func(ctx context.Context, out Output) error {
		_, err := Run(ctx, Options{Duration: time.Hour, Seed: 1, Output: out})
		return err
	})
	if got := shell(t, d.head.Ask); !strings.Contains(got, "HTTP/1.1 200 OK") {
		t.Errorf("asked before, %s says %s", d.head.Ask, got)
	}
	if got := shell(t, d.head.Publish); strings.Count(got, "-") != 5 {
		t.Errorf("%s prints %q, want five entry IDs", d.head.Publish, got)
	}
	if r := d.wait(t, typeBlocked, guestAddress); r.Actor != "" {
		t.Errorf("the guest is %+v", r)
	}
	if got := shell(t, d.head.Ask); !strings.Contains(got, "HTTP/1.1 429 Too Many Requests") || !strings.Contains(got, "Retry-After: ") {
		t.Errorf("asked after, %s says %s", d.head.Ask, got)
	}
}

// shell runs a line with what stands in for the programs it names where a machine lacks
// them.
func shell(t *testing.T, line string) string {
	t.Helper()
	for _, program := range []string{"redis-cli", "curl"} {
		if _, err := exec.LookPath(program); err != nil && strings.Contains(line, program) {
			return withoutPrograms(t, line)
		}
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return string(out)
}

func TestPastedLinesWithoutPrograms(t *testing.T) {
	t.Parallel()
	d := dev(t, DevOptions{})
	if got := withoutPrograms(t, d.head.Publish); strings.Count(got, "-") != 5 {
		t.Errorf("%s comes to %q", d.head.Publish, got)
	}
	d.wait(t, typeBlocked, guestAddress)
	if got := withoutPrograms(t, d.head.Ask); !strings.HasPrefix(got, "HTTP/1.1 429") {
		t.Errorf("%s comes to %q", d.head.Ask, got)
	}
}

// withoutPrograms does what a printed line says, with go-redis and net/http.
func withoutPrograms(t *testing.T, line string) string {
	t.Helper()
	var times int
	var port string
	if n, _ := fmt.Sscanf(line, "for i in $(seq %d); do redis-cli -p %s XADD", &times, &port); n == 2 {
		_, command, _ := strings.Cut(strings.TrimSuffix(line, "; done"), port+" ")
		c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})
		defer c.Close()
		var out strings.Builder
		for range times {
			var args []any
			for _, word := range strings.Fields(command) {
				args = append(args, strings.Trim(word, "'"))
			}
			id, err := c.Do(t.Context(), args...).Text()
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString(id + "\n")
		}
		return out.String()
	}
	var header, url string
	if _, err := fmt.Sscanf(line, "curl -i -H 'X-Forwarded-For: %s %s", &header, &url); err != nil {
		t.Fatalf("%s is not a line of ours: %v", line, err)
	}
	d := &running{head: head{Ingress: url}}
	status := ask(t, d, "X-Forwarded-For", strings.TrimSuffix(header, "'"))
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nRetry-After: ", status, http.StatusText(status))
}
