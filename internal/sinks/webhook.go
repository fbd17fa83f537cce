package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/wardstream/wardstream/internal/wire"
)

// headerKey holds the enforcement.id, as the webhook-id does, for receivers that know the older
// header.
const headerKey = "Idempotency-Key"

const (
	// maxBody bounds a request's body; an event is far smaller.
	maxBody = 256 << 10
	// maxAnswer is how much of a response is read, so that the connection can be reused.
	maxAnswer = 16 << 10
	// maxRetryAfter bounds how long a receiver can make us wait.
	maxRetryAfter = 5 * time.Minute
)

// WebhookOptions configure a Webhook. URL, Timeout and Now are required.
type WebhookOptions struct {
	URL     string
	Secret  string        // signs requests, unless empty; base64 after "whsec_", else its own bytes
	Timeout time.Duration // of one request, its answer included
	Origin  wire.Origin
	Now     func() time.Time
}

// Webhook is a sink that posts each event as JSON to a URL, with the headers of the Standard
// Webhooks specification. Only status 200 to 299 is a success; redirects are not followed. Its
// errors are [Failure]s and contain only the URL's host, since the rest may be secret.
type Webhook struct {
	opts   WebhookOptions
	signer *standardwebhooks.Webhook // nil: requests are not signed
	client *http.Client
}

// NewWebhook returns a sink; Close closes its connections. It fails if the secret says that it is
// base64 and isn't.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	signer, err := newSigner(o.Secret)
	if err != nil {
		return nil, err
	}
	return &Webhook{opts: o, signer: signer, client: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       o.Timeout,
	}}, nil
}

var errSecret = errors.New("the secret begins with whsec_, but what follows is not base64")

// newSigner returns a signer for the secret, or nil if it is empty.
func newSigner(secret string) (*standardwebhooks.Webhook, error) {
	switch {
	case secret == "":
		return nil, nil
	case !strings.HasPrefix(secret, "whsec_"):
		return standardwebhooks.NewWebhookRaw([]byte(secret))
	}
	signer, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, errSecret // without the secret, which the library's error quotes parts of
	}
	return signer, nil
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
		Final: !retryable(resp.StatusCode), After: retryAfter(resp.Header.Get("Retry-After"), w.opts.Now()),
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
	now := w.opts.Now()
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	if e.ID != "" {
		req.Header.Set(standardwebhooks.HeaderWebhookID, e.ID)
		req.Header.Set(headerKey, e.ID)
	}
	if w.signer != nil {
		signature, err := w.signer.Sign(e.ID, now, body)
		if err != nil {
			return nil, err
		}
		req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	}
	return req, nil
}

// withoutURL returns the cause of err without the URL that net/http adds.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// retryable reports whether the same request may succeed later, by its status.
func retryable(status int) bool {
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
