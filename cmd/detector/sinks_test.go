package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wardstream/wardstream/internal/testenv"
)

// A listener is an HTTP server that takes down what is posted to it.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	signed int
}

func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.bodies = append(l.bodies, r.URL.Path+" "+string(body))
		if strings.HasPrefix(r.Header.Get("Webhook-Signature"), "v1,") {
			l.signed++
		}
	}))
	t.Cleanup(l.Close)
	return l
}

// awaits waits until it received n events, of which the last holds want.
func (l *listener) awaits(t *testing.T, n int, want string) {
	t.Helper()
	testenv.Eventually(t, patience, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.bodies) != n || !strings.Contains(l.bodies[n-1], want) {
			return fmt.Errorf("it received %q, not %d events with %s at the end", l.bodies, n, want)
		}
		return nil
	})
}

// TestEverySinkReceivesBlocksAndUnblocks: a block goes to standard output, the stream, an OTLP
// receiver and the webhooks that want it, though another webhook hangs; so does an operator's
// unblock. Secrets stay out of the log.
func TestEverySinkReceivesBlocksAndUnblocks(t *testing.T) {
	t.Parallel()
	all, revoked, collector, release := listen(t), listen(t), listen(t), make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(stuck.Close)
	t.Cleanup(func() { close(release) })
	in := install(t, testenv.Redis(t), nil, "")
	in.file = file(t, "key_prefix: "+in.redis.Prefix+"\nhttp: {addr: '127.0.0.1:0'}\nrules:\n- {name: brute_force_login, threshold: 1}\n"+`
events:
  stream: '`+in.enforcement()+`'
  otlp: true
  webhooks:
  - {url: '`+stuck.URL+`/hunter2', secret: '${HOOK_SECRET}', timeout: 100ms}
  - {url: '`+all.URL+`/hunter2?token=hunter2', secret: '${HOOK_SECRET}'}
  - {url: '`+revoked.URL+`', events: [audit.enforcement.block_revoked]}
`)
	in.env = append(in.env, "HOOK_SECRET=hunter2hunter2hunter2", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="+collector.URL+"/logs")
	w := in.start()
	in.publish("event_type", failed, "source.address", attacker)
	all.awaits(t, 1, `/hunter2 {"timestamp":`)
	all.awaits(t, 1, `"event_name":"audit.enforcement.block_applied"`)
	collector.awaits(t, 1, "audit.enforcement.block_applied")
	in.awaitEvents(1)
	testenv.Eventually(t, patience, func() error {
		if out := w.out.String(); !strings.Contains(out, "audit.enforcement.block_applied") {
			return fmt.Errorf("stdout %q", out)
		}
		return nil
	})
	testenv.Eventually(t, patience, func() error {
		if w.metric("wardstream_events_failures_total", `sink="webhook_1"`) == 0 || !strings.Contains(w.log.String(), `"sink":"webhook_1"`) {
			return errNotYet
		}
		return nil
	})

	r := in.command("unblock", "ip", attacker, "--by", "ann")
	if r.code != 0 || !strings.Contains(r.stderr, "it is done, but its enforcement event was not emitted: sink webhook_1: post event to ") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
	for _, l := range []*listener{all, collector} {
		l.awaits(t, 2, "audit.enforcement.block_revoked")
	}
	revoked.awaits(t, 1, "audit.enforcement.block_revoked")
	in.awaitEvents(2)
	if all.signed != 2 || revoked.signed != 0 {
		t.Errorf("%d and %d requests were signed", all.signed, revoked.signed)
	}
	if said := w.log.String() + r.stderr + in.command("check").stdout; strings.Contains(said, "hunter2") {
		t.Errorf("the secret was printed: %s", said)
	}
}
