package sinks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wardstream/wardstream/internal/wire"
)

// Headers of a webhook request besides Content-Type.
const (
	// headerKey holds the enforcement.id: the same whenever the event is sent again.
	headerKey = "Idempotency-Key"
	// headerTime holds when the request was made, in seconds since 1970.
	headerTime = "Wardstream-Timestamp"
	// headerSignature holds "v1=" and the hexadecimal HMAC-SHA256, under the secret, of the timestamp, a dot and the body.
	headerSignature = "Wardstream-Signature"
)

const (
	// maxBody bounds a request's body; an event is far smaller.
	maxBody = 256 << 10
	// maxAnswer is how much of an answer is read, so that the connection can be used again.
	maxAnswer = 16 << 10
	// maxRetryAfter bounds how long a receiver can make us wait.
	maxRetryAfter = 5 * time.Minute
)

// WebhookOptions say where a webhook sends events and how. URL, Timeout and Now must be given.
type WebhookOptions struct {
	URL     string
	Secret  string        // signs requests, unless empty
	Timeout time.Duration // of one request, its answer included
	Origin  wire.Origin
	Now     func() time.Time
}

// Webhook is a sink that posts each event as JSON to a URL. Only an answer of
// 200 to 299 takes it; redirects are not followed. Its errors are [Failure]s
// and tell the URL's host alone, since the rest of it may be secret.
type Webhook struct {
	opts   WebhookOptions
	client *http.Client
}

// NewWebhook returns a sink; Close lets go of its connections.
func NewWebhook(o WebhookOptions) *Webhook {
	return &Webhook{opts: o, client: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       o.Timeout,
	}}
}

// Close closes idle connections.
func (w *Webhook) Close() { w.client.CloseIdleConnections() }

// Emit posts the events one after the other, up to the first that fails.
func (w *Webhook) Emit(ctx context.Context, events []wire.Enforcement) error {
	for i := range events {
		if err := w.post(ctx, events[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *Webhook) post(ctx context.Context, e wire.Enforcement) error {
	req, err := w.request(ctx, e)
	if err != nil {
		return Failure{Final: true, Err: fmt.Errorf("make webhook request: %w", withoutURL(err))}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return Failure{Err: fmt.Errorf("post event to %s: %w", req.URL.Host, withoutURL(err))}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return Failure{
		Final: !worthRepeating(resp.StatusCode), After: retryAfter(resp.Header.Get("Retry-After"), w.opts.Now()),
		Err: fmt.Errorf("post event to %s: %w %d", req.URL.Host, errStatus, resp.StatusCode),
	}
}

var (
	errStatus  = errors.New("answered with status")
	errTooLong = errors.New("event is too long")
)

func (w *Webhook) request(ctx context.Context, e wire.Enforcement) (*http.Request, error) {
	body, err := wire.EncodeEnforcement(e, w.opts.Origin)
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, errTooLong
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.opts.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "wardstream/"+w.opts.Origin.Version)
	if e.ID != "" {
		req.Header.Set(headerKey, e.ID)
	}
	stamp := strconv.FormatInt(w.opts.Now().Unix(), 10)
	req.Header.Set(headerTime, stamp)
	if w.opts.Secret != "" {
		mac := hmac.New(sha256.New, []byte(w.opts.Secret))
		mac.Write([]byte(stamp + "."))
		mac.Write(body)
		req.Header.Set(headerSignature, "v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	return req, nil
}

// withoutURL is what went wrong without the URL that net/http puts before it.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// worthRepeating reports whether the same request may be answered otherwise later.
func worthRepeating(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, maxRetryAfter))
}
