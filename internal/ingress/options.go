// Package ingress is ingress-check: the checker as a server that proxies ask
// before they pass a request on (forward-auth), and as a command.
package ingress

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"regexp"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/wardstream/wardstream/pkg/checker"
	"github.com/wardstream/wardstream/pkg/publisher"
)

// Options configures ingress-check. Start from [DefaultOptions].
type Options struct {
	Addr     string // forward-auth listener, host:port
	HTTPAddr string // listener of health and metrics; empty: they are on Addr

	RedisURL      string
	PostgresURL   string
	PostgresTable string
	KeyPrefix     string
	// PermanentTier says that detectors keep permanent blocks in Postgres, so
	// that without their copy in Redis, and without PostgresURL, a check fails.
	PermanentTier bool

	TrustedProxies    []string // CIDR ranges and addresses
	TrustedProxyCount int
	// Headers in which a trusted proxy says who the client is; empty: none.
	UserHeader, UsernameHeader, SessionHeader string

	FailClosedPaths []string      // regular expressions
	Timeout         time.Duration // of a check
	IPv6Prefix      int           // bits; 128: each address by itself
	Precedence      []string      // scope types that answer first
	StatusCode      int           // of denials whose block has none
	Message         string        // likewise
	Grace           time.Duration // for requests under way at a stop

	Publish       bool     // tell detection of the requests that are let pass
	PublishStream []string // in these streams
	PublishBuffer int      // how many may wait
	EventsStdout  bool     // tell of denials and failed checks on Stdout
	EventsStream  string   // and in this stream; empty: not
	Stdout        io.Writer
	LogFormat     string // json or text
}

// DefaultOptions returns the options of an ingress-check without configuration. It
// still needs a store.
func DefaultOptions() Options {
	return Options{
		Addr: "127.0.0.1:8080", Timeout: checker.DefaultTimeout, IPv6Prefix: 128,
		StatusCode: checker.DefaultStatusCode, Message: checker.DefaultMessage,
		Grace: 10 * time.Second, LogFormat: "json",
		PublishStream: []string{publisher.DefaultStream}, PublishBuffer: 8192,
	}
}

var errNoStore = errors.New("no store given: set --redis-url or WARDSTREAM_REDIS_URL, or for Postgres alone --postgres-url")

// checkStore reports what is wrong with the options that say where blocks are
// and how to decide.
func (o *Options) checkStore() error {
	switch {
	case o.RedisURL == "" && o.PostgresURL == "":
		return errNoStore
	case o.Timeout <= 0:
		return fmt.Errorf("--timeout %s: must be above 0", o.Timeout)
	case o.IPv6Prefix < 0 || o.IPv6Prefix > 128:
		return fmt.Errorf("--ipv6-prefix %d: must be 0 to 128", o.IPv6Prefix)
	case o.StatusCode < http.StatusBadRequest || o.StatusCode > 599:
		return fmt.Errorf("--status-code %d: must be 400 to 599, a denial", o.StatusCode)
	}
	return nil
}

// checkServe reports what is wrong with the options of the server.
func (o *Options) checkServe() error {
	if err := o.checkStore(); err != nil {
		return err
	}
	if o.TrustedProxyCount > 0 && len(o.TrustedProxies) == 0 {
		return fmt.Errorf("--trusted-proxy-count %d: needs --trusted-proxies, since no other peer is believed", o.TrustedProxyCount)
	}
	if err := o.checkFeed(); err != nil {
		return err
	}
	for flag, name := range map[string]string{
		"user-header": o.UserHeader, "username-header": o.UsernameHeader, "session-header": o.SessionHeader,
	} {
		if name != "" && !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("--%s %q: no header has such a name", flag, name)
		}
	}
	return nil
}

// checkFeed reports what is wrong with the options that say whom to tell.
func (o *Options) checkFeed() error {
	switch {
	case o.Publish && o.RedisURL == "":
		return errors.New("--publish: needs --redis-url, since requests are published there")
	case o.Publish && len(o.PublishStream) == 0:
		return errors.New("--publish-stream: names no stream")
	case o.PublishBuffer <= 0:
		return fmt.Errorf("--publish-buffer %d: must be above 0", o.PublishBuffer)
	case o.EventsStream != "" && o.RedisURL == "":
		return errors.New("--events-stream: needs --redis-url, since the stream is there")
	case o.EventsStdout && o.Stdout == nil:
		return errors.New("--events-stdout: there is no standard output")
	}
	return nil
}

// checkerOptions translates the options for the checker.
func (o *Options) checkerOptions() ([]checker.Option, error) {
	opts := []checker.Option{
		checker.WithTimeout(o.Timeout), checker.WithIPv6Prefix(o.IPv6Prefix),
		checker.WithPrecedence(o.Precedence...), checker.WithDenial(o.StatusCode, o.Message),
	}
	for _, text := range o.FailClosedPaths {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("--fail-closed-paths %q: no regular expression: %w", text, err)
		}
		opts = append(opts, checker.WithFailClosed(pattern))
	}
	return opts, nil
}

// identity is a header that names the client, and where its value goes.
type identity struct {
	header string
	set    func(*checker.Subject, string)
}

func (o *Options) identities() []identity {
	all := []identity{
		{o.UserHeader, func(s *checker.Subject, v string) { s.User = v }},
		{o.UsernameHeader, func(s *checker.Subject, v string) { s.Username = v }},
		{o.SessionHeader, func(s *checker.Subject, v string) { s.Session = v }},
	}
	var given []identity
	for _, id := range all {
		if id.header != "" {
			id.header = textproto.CanonicalMIMEHeaderKey(id.header)
			given = append(given, id)
		}
	}
	return given
}
