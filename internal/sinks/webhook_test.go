package sinks_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wardstream/wardstream/internal/sinks"
	"github.com/wardstream/wardstream/internal/testenv"
	"github.com/wardstream/wardstream/internal/wire"
)

// A receiver is a webhook's HTTP server. It answers with the statuses in turn,
// then with 200.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	header   http.Header // of its answers
	requests []*http.Request
	bodies   []string
	at       []time.Time
}

func newReceiver(t *testing.T, statuses ...int) *receiver {
	t.Helper()
	r := &receiver{statuses: statuses, header: http.Header{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	r.requests, r.bodies, r.at = append(r.requests, req), append(r.bodies, string(body)), append(r.at, time.Now())
	status := http.StatusOK
	if len(r.statuses) > 0 {
		status, r.statuses = r.statuses[0], r.statuses[1:]
	}
	for name := range r.header {
		w.Header().Set(name, r.header.Get(name))
	}
	w.WriteHeader(status)
}

// keys are the idempotency keys of the requests so far.
func (r *receiver) keys() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, req := range r.requests {
		out = append(out, req.Header.Get("Idempotency-Key"))
	}
	return out
}

func webhook(t *testing.T, o sinks.WebhookOptions) *sinks.Webhook {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Origin = origin()
	w, err := sinks.NewWebhook(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestWebhookPostsTheEvent(t *testing.T) {
	t.Parallel()
	server := newReceiver(t, http.StatusOK, http.StatusAccepted)
	at := time.Unix(1767225600, 0)
	sink := webhook(t, sinks.WebhookOptions{URL: server.URL + "/hook?a=b", Secret: "s3cret", Now: func() time.Time { return at }})
	want := alerts("hook", 2)
	if err := sink.Emit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if len(server.requests) != 2 {
		t.Fatalf("%d requests", len(server.requests))
	}
	for i, req := range server.requests {
		body, err := wire.EncodeEnforcement(want[i], origin())
		if err != nil || server.bodies[i] != string(body) {
			t.Errorf("body %s, want %s (%v)", server.bodies[i], body, err)
		}
		mac := hmac.New(sha256.New, []byte("s3cret"))
		mac.Write([]byte(want[i].ID + ".1767225600." + string(body)))
		for name, value := range map[string]string{
			"Content-Type": "application/json", "Idempotency-Key": want[i].ID, "User-Agent": "wardstream/1.2.3",
			"Webhook-Id": want[i].ID, "Webhook-Timestamp": "1767225600", "Webhook-Signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		} {
			if got := req.Header.Get(name); got != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		if req.Method != http.MethodPost || req.URL.String() != "/hook?a=b" {
			t.Errorf("%s %s", req.Method, req.URL)
		}
	}
}

func TestWebhookWithoutSecretIsUnsigned(t *testing.T) {
	t.Parallel()
	server := newReceiver(t)
	if err := webhook(t, sinks.WebhookOptions{URL: server.URL}).Emit(t.Context(), []wire.Enforcement{{Type: wire.TypeAlert}}); err != nil {
		t.Fatal(err)
	}
	if h := server.requests[0].Header; h.Values("Webhook-Signature") != nil || h.Values("Idempotency-Key") != nil {
		t.Errorf("headers %v", h)
	}
}

// TestWebhookSecrets: a receiver verifies with the specification's own library, whichever form the
// secret has.
func TestWebhookSecrets(t *testing.T) {
	t.Parallel()
	plain := "a secret of plain text, long enough"
	for secret, forReceiver := range map[string]string{
		plain:                                    base64.StdEncoding.EncodeToString([]byte(plain)),
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		server := newReceiver(t)
		if err := webhook(t, sinks.WebhookOptions{URL: server.URL, Secret: secret}).Emit(t.Context(), alerts("hook", 1)); err != nil {
			t.Fatal(err)
		}
		verifier, err := standardwebhooks.NewWebhook(forReceiver)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify([]byte(server.bodies[0]), server.requests[0].Header); err != nil {
			t.Errorf("%s: %v", secret, err)
		}
		if verifier.Verify([]byte(server.bodies[0]+" "), server.requests[0].Header) == nil {
			t.Errorf("%s: another body verifies, too", secret)
		}
	}
	_, err := sinks.NewWebhook(sinks.WebhookOptions{URL: "http://127.0.0.1", Secret: "whsec_not+base64!"})
	if err == nil || strings.Contains(err.Error(), "not+base64") {
		t.Errorf("a malformed secret: %v", err)
	}
}

// TestWebhookResponseStatus: which answers take an event, which ask for it again, and when.
func TestWebhookResponseStatus(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status int
		after  string // Retry-After
		fails  bool
		final  bool
		wait   time.Duration
	}{
		{status: 200},
		{status: 204},
		{status: 299},
		{status: 301, fails: true, final: true},
		{status: 307, fails: true, final: true},
		{status: 304, fails: true, final: true},
		{status: 400, fails: true, final: true},
		{status: 401, fails: true, final: true},
		{status: 404, fails: true, final: true},
		{status: 410, fails: true, final: true},
		{status: 408, fails: true},
		{status: 425, fails: true},
		{status: 500, fails: true},
		{status: 502, fails: true},
		{status: 503, fails: true},
		{status: 429, after: "7", fails: true, wait: 7 * time.Second},
		{status: 503, after: "Thu, 01 Jan 2026 00:00:09 GMT", fails: true, wait: 9 * time.Second},
		{status: 503, after: "Wed, 31 Dec 2025 00:00:00 GMT", fails: true},
		{status: 503, after: "99999", fails: true, wait: 5 * time.Minute},
		{status: 503, after: "-1", fails: true},
		{status: 503, after: "soon", fails: true},
	} {
		t.Run(fmt.Sprint(tt.status, " ", tt.after), func(t *testing.T) {
			t.Parallel()
			elsewhere := newReceiver(t)
			server := newReceiver(t, tt.status)
			server.header.Set("Location", elsewhere.URL)
			if tt.after != "" {
				server.header.Set("Retry-After", tt.after)
			}
			err := webhook(t, sinks.WebhookOptions{URL: server.URL, Now: func() time.Time { return now }}).Emit(t.Context(), alerts("a", 1))
			var f sinks.Failure
			if errors.As(err, &f) != tt.fails || f.Final != tt.final || f.After != tt.wait {
				t.Errorf("error %+v", err)
			}
			if len(server.requests) != 1 || len(elsewhere.requests) != 0 {
				t.Errorf("%d requests, %d after a redirect", len(server.requests), len(elsewhere.requests))
			}
		})
	}
}

// TestWebhookErrorsKeepSecrets: neither credentials nor path nor query are in what is logged.
func TestWebhookErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	refusing, closed := newReceiver(t, http.StatusInternalServerError), newReceiver(t)
	closed.Close()
	for name, url := range map[string]string{"refused": refusing.URL, "closed": closed.URL, "no URL": "http://\x7f"} {
		url = strings.Replace(url, "http://", "http://user:hunter2@", 1) + "/hunter2?token=hunter2"
		err := webhook(t, sinks.WebhookOptions{URL: url, Secret: "hunter2"}).Emit(t.Context(), alerts("a", 1))
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if user, password, ok := refusing.requests[0].BasicAuth(); !ok || user != "user" || password != "hunter2" {
		t.Error("the URL's credentials were not sent")
	}
}

// TestWebhookTimesOut: a receiver that says nothing, or never ends what it says, is left.
func TestWebhookTimesOut(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	err := webhook(t, sinks.WebhookOptions{URL: server.URL, Timeout: 20 * time.Millisecond}).Emit(t.Context(), alerts("a", 1))
	var f sinks.Failure
	if !errors.As(err, &f) || f.Final || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestWebhookReadsBoundedResponse(t *testing.T) {
	t.Parallel()
	var sent int
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		for block := make([]byte, 64<<10); sent < 1<<30; sent += len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	if err := webhook(t, sinks.WebhookOptions{URL: server.URL}).Emit(t.Context(), alerts("a", 1)); err != nil {
		t.Error(err)
	}
	<-done
	if sent == 1<<30 {
		t.Error("a gigabyte of answer was read")
	}
}

func TestWebhookRefusesOversizedEvent(t *testing.T) {
	t.Parallel()
	server := newReceiver(t)
	err := webhook(t, sinks.WebhookOptions{URL: server.URL}).Emit(t.Context(), []wire.Enforcement{{Type: wire.TypeAlert, Description: strings.Repeat("x", 300<<10)}})
	var f sinks.Failure
	if !errors.As(err, &f) || !f.Final || len(server.requests) > 0 {
		t.Errorf("error %v, %d requests", err, len(server.requests))
	}
}

// hook is a webhook as the worker treats it.
func hook(t *testing.T, server *receiver, wants func(string) bool) sinks.Named {
	t.Helper()
	return sinks.Named{
		Name: "webhook_1", Sink: webhook(t, sinks.WebhookOptions{URL: server.URL}), Accepts: wants, Detached: true, Batch: 1, Attempt: patience, Deliveries: 3,
	}
}

// TestWebhookInFanoutRetriesWithSameID: a receiver that fails is asked again under the same key,
// and one event that it never takes is given up without the others.
func TestWebhookInFanoutRetriesWithSameID(t *testing.T) {
	t.Parallel()
	server := newReceiver(t, 503, 200, 500, 500, 500, 200, 404, 200)
	f := fanout(t, sinks.Options{}, hook(t, server, nil))
	batch := alerts("x", 5)
	f.emit(t, batch)
	id := func(i int) string { return batch[i].ID }
	want := []string{id(0), id(0), id(1), id(1), id(1), id(2), id(3), id(4)}
	testenv.Eventually(t, patience, func() error {
		if got := server.keys(); strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("requests for %q, want %q", got, want)
		}
		if n := f.metric(t, "wardstream_events_emitted_total", "webhook_1"); n != 3 {
			return fmt.Errorf("%v emitted", n)
		}
		return nil
	})
	if n := f.metric(t, "wardstream_events_dropped_total", "webhook_1"); n != 2 {
		t.Errorf("%v dropped, want 2", n)
	}
	if n := f.metric(t, "wardstream_events_failures_total", "webhook_1"); n != 5 {
		t.Errorf("%v failures, want 5", n)
	}
}

func TestWebhookHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	server := newReceiver(t, http.StatusTooManyRequests)
	server.header.Set("Retry-After", "1")
	f := fanout(t, sinks.Options{}, hook(t, server, nil))
	f.emit(t, alerts("x", 1))
	f.failed(t, "webhook_1", 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Close(ctx); err != nil { // not even a shutdown asks sooner
		t.Fatal(err)
	}
	if len(server.at) != 2 || server.at[1].Sub(server.at[0]) < time.Second {
		t.Errorf("asked at %v", server.at)
	}
}

func TestWebhookReceivesOnlySubscribedEvents(t *testing.T) {
	t.Parallel()
	server := newReceiver(t)
	var all collector
	f := fanout(t, sinks.Options{Budget: patience}, hook(t, server, func(typ string) bool { return typ == wire.TypeBlockApplied }), sinks.Named{Name: "all", Sink: &all})
	batch := alerts("x", 4)
	batch[1].Type, batch[3].Type = wire.TypeBlockApplied, wire.TypeBlockApplied
	f.emit(t, batch)
	f.emit(t, alerts("none", 2))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := server.keys(); len(got) != 2 || got[0] != batch[1].ID || got[1] != batch[3].ID {
		t.Errorf("posted %q", got)
	}
	if err := all.has(batch, alerts("none", 2)); err != nil {
		t.Error(err)
	}
}

// TestFanoutDoesNotWaitForDetachedSink: with a budget that no test outlasts.
func TestFanoutDoesNotWaitForDetachedSink(t *testing.T) {
	t.Parallel()
	var far, near collector
	f := fanout(t, sinks.Options{Budget: time.Hour, Queue: 3}, sinks.Named{Name: "far", Sink: &far, Detached: true}, sinks.Named{Name: "near", Sink: &near})
	far.gate.Lock()
	batch := alerts("x", 5)
	f.emit(t, batch[:3])
	f.emit(t, batch[3:])
	if err := near.has(batch); err != nil {
		t.Error(err)
	}
	far.gate.Unlock()
	testenv.Eventually(t, patience, func() error { return far.has(batch[:3]) })
	if n := f.metric(t, "wardstream_events_dropped_total", "far"); n != 2 {
		t.Errorf("%v dropped, want 2", n)
	}
}

// TestDirectEmitsToEverySink: at once, though one hangs and one fails.
func TestDirectEmitsToEverySink(t *testing.T) {
	t.Parallel()
	var good, broken, stuck collector
	broken.fail(errors.New("down"))
	stuck.gate.Lock()
	d := sinks.Direct{
		{Name: "stuck", Sink: &stuck},
		{Name: "broken", Sink: &broken},
		{Name: "good", Sink: &good},
		{Name: "other", Sink: &broken, Accepts: func(typ string) bool { return typ == wire.TypeBlocked }},
	}
	emitted := make(chan error)
	go func() { emitted <- d.Emit(t.Context(), alerts("x", 2)) }()
	testenv.Eventually(t, patience, func() error {
		if _, calls := broken.got(); calls == 0 {
			return errors.New("not yet")
		}
		return good.has(alerts("x", 2))
	})
	stuck.gate.Unlock()
	if err := <-emitted; err == nil || err.Error() != "sink broken: down" {
		t.Errorf("error %v", err)
	}
	if err := errors.Join(stuck.has(alerts("x", 2)), good.has(alerts("x", 2))); err != nil {
		t.Error(err)
	}
}
