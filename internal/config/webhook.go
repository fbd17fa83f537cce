package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wardstream/wardstream/internal/spelling"
	"github.com/wardstream/wardstream/internal/strictconfig"
	"github.com/wardstream/wardstream/internal/wire"
)

// A Secret is printed and logged masked. string(s) is the secret itself.
type Secret string

// Redacted returns the mask, or "" where there is no secret.
func (s Secret) Redacted() string {
	if s == "" {
		return ""
	}
	return masked
}

// String returns Redacted.
func (s Secret) String() string { return s.Redacted() }

// GoString returns Redacted.
func (s Secret) GoString() string { return s.Redacted() }

// LogValue returns Redacted.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.Redacted()) }

// MarshalText returns Redacted.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.Redacted()), nil }

// A WebhookURL is printed and logged with its scheme and host alone: webhooks
// of many services have their secret in the path. string(u) is the URL itself.
type WebhookURL string

// Redacted returns scheme and host, with a mask for the rest.
func (u WebhookURL) Redacted() string {
	parsed, err := u.parse()
	switch {
	case u == "":
		return ""
	case err != nil:
		return masked
	case parsed.User == nil && strings.Trim(parsed.Path, "/") == "" && parsed.RawQuery == "":
		return string(u)
	}
	return parsed.Scheme + "://" + parsed.Host + "/" + masked
}

// String returns Redacted.
func (u WebhookURL) String() string { return u.Redacted() }

// GoString returns Redacted.
func (u WebhookURL) GoString() string { return u.Redacted() }

// LogValue returns Redacted.
func (u WebhookURL) LogValue() slog.Value { return slog.StringValue(u.Redacted()) }

// MarshalText returns Redacted.
func (u WebhookURL) MarshalText() ([]byte, error) { return []byte(u.Redacted()), nil }

func (u WebhookURL) parse() (*url.URL, error) {
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Hostname() == "" || parsed.Fragment != "" ||
		!isPlain(string(u)) || strings.Contains(parsed.Path, "@") {
		return nil, errWebhookURL
	}
	return parsed, nil
}

var errWebhookURL = errors.New("is not a URL that events can be posted to; write https://host/path and percent-encode special characters")

const (
	maxWebhooks    = 16
	defaultTimeout = 5 * time.Second
	weakSecret     = 16 // bytes
)

// checkWebhooks checks the webhooks and gives those without a timeout the default.
func (v *validator) checkWebhooks() {
	hooks := v.c.Events.Webhooks
	if len(hooks) > maxWebhooks {
		v.Refuse("events.webhooks", "lists more than %d webhooks", maxWebhooks)
	}
	for i := range hooks {
		w, key := &hooks[i], fmt.Sprintf("events.webhooks[%d]", i)
		if w.URL == "" {
			v.Refuse(key+".url", "is missing; write https://host/path")
		} else if _, err := w.URL.parse(); err != nil {
			v.Refuse(key+".url", "%v", err)
		}
		if encoded, ok := strings.CutPrefix(string(w.Secret), "whsec_"); ok {
			if _, err := base64.StdEncoding.DecodeString(encoded); err != nil {
				v.Refuse(key+".secret", "begins with whsec_, but what follows is not base64; make one with: echo whsec_$(openssl rand -base64 32)")
			}
		}
		for j, typ := range w.Events {
			if !slices.ContainsFunc(wire.EnforcementTypes(), func(known string) bool { return covers(typ, known) }) {
				v.Refuse(fmt.Sprintf("%s.events[%d]", key, j), "%s is not a type of enforcement event; use one of %s, or the beginning of some and *%s",
					strictconfig.Quote(typ), strings.Join(wire.EnforcementTypes(), ", "), spelling.Suggestion(typ, wire.EnforcementTypes()))
			}
		}
		if w.Timeout == 0 {
			w.Timeout = defaultTimeout
		}
	}
}

// covers reports whether an element of Webhook.Events stands for the type.
func covers(element, typ string) bool {
	if prefix, ok := strings.CutSuffix(element, "*"); ok {
		return strings.HasPrefix(typ, prefix)
	}
	return element == typ
}

// Accepts reports whether the webhook is sent events of the type.
func (w Webhook) Accepts(typ string) bool {
	return len(w.Events) == 0 || slices.ContainsFunc(w.Events, func(element string) bool { return covers(element, typ) })
}

func (v *validator) warnWebhooks() {
	for i, w := range v.c.Events.Webhooks {
		if u, err := w.URL.parse(); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
			v.warnf("events.webhooks[%d].url is http: anyone on the network path can read the events and the credentials of the URL", i)
		}
		if w.Secret != "" && len(w.Secret) < weakSecret {
			v.warnf("events.webhooks[%d].secret is shorter than %d bytes and can be guessed", i, weakSecret)
		}
	}
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
